/** What the operations of both dialects ask of a catalogue. */
import { NotFoundError } from '../../errors.js';
import type { Row } from './dialect.js';

/** Rows whose columns are named as the type's properties: those that are NULL are absent. */
export function shaped<T>(rows: readonly Row[]): T[] {
  const shapes: T[] = [];
  for (const row of rows)
    shapes.push(Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null)) as T);
  return shapes;
}

export function noTable(collection: string, component: string): NotFoundError {
  return new NotFoundError(`The collection ${collection} has no table`, { component, details: { collection } });
}

/** A name that the catalogue gave, in quotes. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
