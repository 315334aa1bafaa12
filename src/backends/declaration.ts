/**
 * What a collection's records are known to fit, noted beside them. A note has the parts of a declaration that reach into
 * records (each declared field, the text, the ids) and the forms that each part has had, with the time at which it was applied.
 */
import { createHash } from 'node:crypto';
import { StorageError } from '../errors.js';
import { WORD_RULES } from '../filter/text.js';
import type { FieldSchema, RecordSchema } from './backend.js';
import { decodeSequenceId } from './sequence-id.js';

/**
 * How long processes with an earlier declaration count as those of a deployment under way: they are let in as they are and
 * change nothing. After it their declaration is a change as any other.
 */
const DEPLOYMENT = 86_400_000;

/** The form of a part that is not declared; every part had it before its first. */
const NONE = '-';
const TEXT = 'text';
const IDS = 'ids';
const FIELD = 'field ';

/** The time of each form, in milliseconds since 1970. */
type Forms = Readonly<Record<string, number>>;

/** As it is kept: JSON. */
export interface DeclarationNote {
  readonly parts: Readonly<Record<string, Forms>>;
}

export interface DeclarationChange {
  /** Those that existing records must be checked against. */
  readonly fields: ReadonlyMap<string, FieldSchema>;
  /** Whether the ids of existing records must be checked against their declared form. */
  readonly ids: boolean;
  /** Whether the words of existing records must be made anew. */
  readonly words: boolean;
  /** What is noted once that is done. */
  readonly note: DeclarationNote;
}

/** What a declaration changes for the records there; `undefined` when they are known to fit it. */
export function declarationChange(
  schema: RecordSchema,
  note: DeclarationNote | undefined,
  now: Date,
): DeclarationChange | undefined {
  const noted = new Map<string, Forms>(Object.entries(note?.parts ?? {}));
  const declared = declaredForms(schema);
  const time = now.getTime();
  const fields = new Map<string, FieldSchema>();
  const parts = new Map(noted);
  let ids = false;
  let words = false;
  for (const part of new Set([...noted.keys(), ...declared.keys()])) {
    const forms = noted.get(part) ?? {};
    const form = declared.get(part) ?? NONE;
    // Two forms of ids have no deployment together: neither finds the records of the other.
    if (part === IDS ? isNewest(forms, form) : isApplied(forms, form, time)) continue;
    parts.set(part, { ...forms, [form]: time });
    if (part === IDS) ids = true;
    if (part === IDS || form === NONE || isImplied(forms, form)) continue;
    if (part === TEXT) words = true;
    else fields.set(part.slice(FIELD.length), schema.fields.get(part.slice(FIELD.length))!);
  }
  const isNew = note === undefined || [...parts].some(([part, forms]) => noted.get(part) !== forms);
  return isNew ? { fields, ids, words, note: { parts: Object.fromEntries(parts) } } : undefined;
}

/** The name of the words that a declaration asks for; another one stands for other words. */
export function wordsForm({ text }: RecordSchema): string {
  return createHash('sha256')
    .update(JSON.stringify([WORD_RULES, text]))
    .digest('hex')
    .slice(0, 12);
}

function declaredForms(schema: RecordSchema): Map<string, string> {
  const forms = new Map<string, string>();
  for (const [path, { type, maxBytes }] of schema.fields)
    forms.set(FIELD + path, type === 'string' ? `string ${maxBytes}` : type);
  if (schema.text.length > 0) forms.set(TEXT, wordsForm(schema));
  if (schema.numbered === true) forms.set(IDS, 'sequence');
  return forms;
}

function isNewest(forms: Forms, form: string): boolean {
  const applied = forms[form] ?? (form === NONE ? 0 : undefined);
  return applied === Math.max(0, ...Object.values(forms));
}

function isApplied(forms: Forms, form: string, now: number): boolean {
  const newest = Math.max(0, ...Object.values(forms));
  return isNewest(forms, form) || ((form === NONE || form in forms) && now - newest < DEPLOYMENT);
}

/** Records that fit the newest form, and those of a deployment under way, fit this one: it is as long or longer than each. */
function isImplied(forms: Forms, form: string): boolean {
  const [, bytes] = /^string (\d+)$/.exec(form) ?? [];
  const newest = Math.max(0, ...Object.values(forms));
  const recent = Object.entries(forms).filter(([, applied]) => newest - applied < DEPLOYMENT);
  return (
    bytes !== undefined &&
    recent.length > 0 &&
    recent.every(([other]) => Number(/^string (\d+)$/.exec(other)?.[1] ?? Infinity) <= Number(bytes))
  );
}

/** The texts that a field of type `date` has, as a regular expression that POSIX and Perl read alike. */
export const DATE_TEXT =
  '^([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))|' +
  '([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)' +
  'T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9][.][0-9]{3}Z$';

/** How many ids a refused declaration tells. */
export const SHOWN_RECORDS = 10;

export interface RecordName {
  readonly tenant: string;
  readonly id: string;
}

/** Records that stand against a declaration. The message names none: it may reach another tenant than theirs. */
export interface Misfits {
  readonly count: number;
  /** The first `SHOWN_RECORDS`. */
  readonly records: readonly RecordName[];
}

/** @param fields how many records do not fit each. */
export function fieldsRefused(
  schema: RecordSchema,
  { count, records }: Misfits,
  fields: Readonly<Record<string, number>>,
): StorageError {
  const names = Object.keys(fields).join(', ');
  return new StorageError(
    'MIGRATION',
    `The collection ${schema.name} has ${count} records that do not fit its declaration (${names}): change them, or the declaration`,
    { operation: 'ensure', details: { collection: schema.name, count, fields, records: shown(schema, records) } },
  );
}

export function uniqueRefused(schema: RecordSchema, constraint: string, { count, records }: Misfits): StorageError {
  return new StorageError(
    'MIGRATION',
    `The collection ${schema.name} has ${count} records that violate its new unique constraint ${constraint}: change them, or the declaration`,
    { operation: 'ensure', details: { collection: schema.name, constraint, count, records: shown(schema, records) } },
  );
}

/** The ids are told as their records were known by until now. */
export function idsRefused(schema: RecordSchema, { count, records }: Misfits): StorageError {
  const { name, numbered = false } = schema;
  const form = numbered ? 'are no numbers of a sequence' : 'are numbers of a sequence';
  return new StorageError(
    'MIGRATION',
    `The collection ${name} has ${count} records whose ids ${form}, which its declaration (id) would not find: load them into another collection, or change the declaration`,
    {
      operation: 'ensure',
      details: { collection: name, count, records: shown({ numbered: !numbered }, records) },
    },
  );
}

function shown({ numbered = false }: { readonly numbered?: boolean }, records: readonly RecordName[]): RecordName[] {
  return records.map(({ tenant, id }) => ({ tenant, id: numbered ? decodeSequenceId(id) : id }));
}
