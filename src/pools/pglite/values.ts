/** How PGlite's values differ from its defaults: times with infinity and far years, bigint as number. */
import { instantText, parseInstant } from '../timestamptz.js';

// pg_type's oids, which never change.
const INT8 = 20;
const TIMESTAMPTZ = 1184;

function serializeInstant(value: unknown): string {
  if (value === Infinity) return 'infinity';
  if (value === -Infinity) return '-infinity';
  if (typeof value === 'string') return value;
  return instantText(value instanceof Date ? value : new Date(value as number));
}

export const parsers = { [INT8]: Number, [TIMESTAMPTZ]: parseInstant };
export const serializers = { [TIMESTAMPTZ]: serializeInstant };
