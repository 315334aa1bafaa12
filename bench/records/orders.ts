/** What every bench of records keeps: orders of 600 bytes, 2,000 of them, with an index for the page. */
import { defineCollection } from 'quartermaster';

export interface Order {
  readonly status: string;
  readonly total: number;
  readonly note: string;
}

export const Orders = defineCollection<Order>({
  name: 'orders',
  fields: { status: 'string', total: 'number' },
  indexes: [{ keys: ['status', 'total'] }],
  id: 'given',
});

const COUNT = 2_000;

export function valueOf(i: number): Order {
  return { status: `s${i % 50}`, total: i, note: 'x'.repeat(550) };
}

export const ROWS = Array.from({ length: COUNT }, (_, i) => ({ id: `o${i}`, value: valueOf(i) }));

/** One of the rows, in an order that has nothing to do with that of the table. */
export function idOf(i: number): string {
  return `o${(i * 7) % COUNT}`;
}

export const PAGE_FILTER = { status: 's7' };
export const PAGE = { sort: { total: 'asc' }, limit: 20 } as const;

export function now(): string {
  return new Date().toISOString();
}

/** Does `work` so many times, one after another. */
export function each(work: (i: number) => Promise<unknown>): (count: number) => Promise<void> {
  return async (count) => {
    for (let i = 0; i < count; i++) await work(i);
  };
}

/** Does `work` so many times, `lanes` at once. */
export function atOnce(lanes: number, work: (i: number) => Promise<unknown>): (count: number) => Promise<void> {
  return async (count) => {
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < count) await work(next++);
    };
    await Promise.all(Array.from({ length: lanes }, lane));
  };
}

/** The version that each row has by now; asking for it counts the write that follows. */
export function versions(known: readonly (readonly [number, number])[] = []): (i: number) => number {
  const written = new Map(known);
  return (i) => {
    const version = written.get(i) ?? 1;
    written.set(i, version + 1);
    return version;
  };
}
