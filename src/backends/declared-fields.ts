/** What a collection declares of its fields, asked of every value that is written. */
import { invalid, ValidationError } from '../errors.js';
import { valueAt } from '../filter/json.js';
import type { FieldType } from '../filter/syntax.js';
import type { FieldSchema, JsonObject, JsonValue, RecordSchema } from './backend.js';

/** Every declared field: its type, its length, and that no array stands on its path. */
export function checkFields(value: JsonObject, schema: RecordSchema): void {
  for (const { path, at, segments, parents, field } of declaredFields(schema)) {
    for (const parent of parents)
      if (Array.isArray(valueAt(value, parent)))
        throw invalid(`value.${parent.join('.')}`, [], `no array on the way to the declared field ${path}`);
    const item = valueAt(value, segments);
    if (item !== undefined) checkField(at, item as JsonValue, field);
  }
}

interface DeclaredField {
  readonly path: string;
  /** Its name in errors. */
  readonly at: string;
  readonly segments: readonly string[];
  readonly parents: readonly (readonly string[])[];
  readonly field: FieldSchema;
}

const DECLARED = new WeakMap<RecordSchema, readonly DeclaredField[]>();

/** The paths of a schema, split once: this is asked by every write. */
function declaredFields(schema: RecordSchema): readonly DeclaredField[] {
  let declared = DECLARED.get(schema);
  if (declared === undefined) {
    declared = [...schema.fields].map(([path, field]) => {
      const segments = path.split('.');
      return {
        path,
        at: `value.${path}`,
        segments,
        parents: segments.slice(1).map((_, n) => segments.slice(0, n + 1)),
        field,
      };
    });
    DECLARED.set(schema, declared);
  }
  return declared;
}

/** @throws `VALIDATION` when an encoded value does not fit the declared field it stands at; `at` names it in errors. */
export function checkField(at: string, item: JsonValue, field: { type: FieldType; maxBytes: number }): void {
  if (item === null) return;
  if (field.type === 'date') {
    if (typeof item !== 'string' || !isDateText(item)) throw invalid(at, item, 'a Date, or null');
  } else if (typeof item !== field.type) {
    throw invalid(at, item, `a ${field.type} (as declared), or null`);
  }
  if (field.type !== 'string' || (item as string).length * 3 <= field.maxBytes) return;
  if (Buffer.byteLength(item as string) > field.maxBytes)
    throw new ValidationError(
      'VALIDATION',
      `${at}: expected at most ${field.maxBytes} bytes, got ${Buffer.byteLength(item as string)}`,
      {
        details: { key: at, maxBytes: field.maxBytes },
      },
    );
}

function isDateText(text: string): boolean {
  // Years of another length would not sort as text.
  if (text.length !== 24) return false;
  if (isPlainDate(text)) return true;
  const time = Date.parse(text);
  return !Number.isNaN(time) && new Date(time).toISOString() === text;
}

/** Of the form `2024-01-31T12:00:00.000Z`, on a day that every month has: nearly every time there is, told without a Date. */
function isPlainDate(text: string): boolean {
  for (let i = 0; i < PLACES.length; i++) {
    const code = text.charCodeAt(i);
    const most = PLACES.charCodeAt(i);
    if (most < 48 || most > 57 ? code !== most : code < 48 || code > most) return false;
  }
  const two = (at: number): number => (text.charCodeAt(at) - 48) * 10 + text.charCodeAt(at + 1) - 48;
  const [month, day] = [two(5), two(8)];
  return month >= 1 && month <= 12 && day >= 1 && day <= 28 && two(11) <= 23;
}

/** The greatest digit of each place; what is no digit stands for itself. */
const PLACES = '9999-19-39T29:59:59.999Z';
