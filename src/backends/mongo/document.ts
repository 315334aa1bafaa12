/** A record as a document. */
import { recordWords } from '../../filter/text.js';
import type { JsonObject, RecordSchema, Stored } from '../backend.js';
import { decodeKeys, encodeKeys, hasOddKeys } from './keys.js';

export interface RecordDocument {
  /** Text, because an embedded document is no point lookup on every server; the parts stand beside it. */
  readonly _id: string;
  readonly t: string;
  readonly i: string;
  readonly n: number;
  readonly c: Date;
  readonly u: Date;
  /** When it expires, or `NEVER`: what every condition asks. */
  readonly x: Date;
  /** The same, absent when never: filters and sorts take the missing for the first. */
  readonly e?: Date;
  /** Whether keys of the value are stored in another form. */
  readonly k?: 1;
  /** The words that `$text` looks for. */
  readonly w?: readonly string[];
  /** Of the claims that took it last; kept by every write but that of a new record. */
  readonly m?: readonly string[];
  readonly v: JsonObject;
}

export const NEVER = new Date(8_640_000_000_000_000);

/** Neither part holds a control character. */
export function documentId(tenant: string, id: string): string {
  return `${tenant}\u001f${id}`;
}

/** What a write sets: everything but the key, the version and the times of its making. */
export interface Content {
  readonly x: Date;
  readonly e?: Date;
  readonly k?: 1;
  readonly w?: readonly string[];
  readonly v: JsonObject;
}

export function contentOf(schema: RecordSchema, value: JsonObject, expiresAt: Date | undefined): Content {
  const odd = hasOddKeys(value);
  return {
    x: expiresAt ?? NEVER,
    ...(expiresAt === undefined ? {} : { e: expiresAt }),
    ...(odd ? { k: 1 } : {}),
    ...(schema.text.length === 0 ? {} : { w: recordWords(schema.text, value) }),
    v: odd ? (encodeKeys(value) as JsonObject) : value,
  };
}

/** The fields that an update takes away because its content lacks them. */
export function unsetMissing(content: Content): Record<string, ''> {
  const missing = (['e', 'k'] as const).filter((field) => content[field] === undefined);
  return Object.fromEntries(missing.map((field) => [field, '' as const]));
}

export function toDocument(schema: RecordSchema, row: Stored): RecordDocument {
  const { tenant, id, version, createdAt, updatedAt } = row;
  const key = { _id: documentId(tenant, id), t: tenant, i: id };
  return { ...key, n: version, c: createdAt, u: updatedAt, ...contentOf(schema, row.value, row.expiresAt) };
}

/** The update that makes the document of a record out of the one it has been read from, and leaves the marks alone. */
export function replacing(schema: RecordSchema, row: Stored): { $set: object; $unset: Record<string, ''> } {
  const content = contentOf(schema, row.value, row.expiresAt);
  return { $set: { n: row.version, u: row.updatedAt, ...content }, $unset: unsetMissing(content) };
}

export function toStored({ t, i, n, c, u, e, k, v }: RecordDocument): Stored {
  const value = k === 1 ? (decodeKeys(v) as JsonObject) : v;
  const record = { tenant: t, id: i, version: n, createdAt: c, updatedAt: u, value };
  return e === undefined ? record : { ...record, expiresAt: e };
}
