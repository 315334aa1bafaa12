/** What a host declares of a collection, and the schema that backends get of it. */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { checkKnown, invalid } from '../errors.js';
import { isList, isPlainObject } from '../filter/json.js';
import { pathFault, type FieldType, type FilterDomain } from '../filter/fields.js';
import type { Path, PathValue } from '../filter/paths.js';
import { tokenize } from '../filter/text.js';
import type { FieldSchema, RecordSchema } from '../backends/backend.js';
import { LIMITS } from '../backends/limits.js';
import { encodeSequenceId } from '../backends/sequence-id.js';
import { ENVELOPE, indexKey, parseIndex, parseUnique, type IndexKey } from './index-declaration.js';

export type FieldDeclaration<F extends FieldType = FieldType> = F | { readonly type: F; readonly maxBytes?: number };

/** As what a value of type `V` can be declared. */
type FieldTypeOf<V> = unknown extends V
  ? FieldType
  : | ([Extract<V, string>] extends [never] ? never : 'string')
    | ([Extract<V, number>] extends [never] ? never : 'number')
    | ([Extract<V, boolean>] extends [never] ? never : 'boolean')
    | ([Extract<V, Date>] extends [never] ? never : 'date');

/**
 * `uuid`: version 7, made here, in the order in which this process makes them. `sequence`: `'1'`, `'2'`, ... of the tenant and the
 * collection, never used twice, ordered by number. `given`: the caller always names it.
 */
export type IdKind = 'uuid' | 'sequence' | 'given';

/** `T`: the record type. `F`: those of its paths that are declared in `fields`. */
interface SpecOf<T, F extends string> {
  /** `[a-z][a-z0-9_]{0,47}` */
  readonly name: string;
  /** Typed when written; only these and the envelope can be sorted by and indexed. A `'date'` takes and gives a Date. */
  readonly fields?: { readonly [K in F]?: FieldDeclaration<FieldTypeOf<PathValue<T, K>>> } | undefined;
  readonly indexes?:
    readonly { readonly keys: readonly IndexKey<NoInfer<F>>[]; readonly scope?: 'tenant' | 'all' }[] | undefined;
  /** Within the tenant; a record that lacks one of the fields is outside the constraint. */
  readonly unique?: readonly { readonly name: string; readonly fields: readonly NoInfer<F>[] }[] | undefined;
  /** `$text` searches these strings: lower-cased words, all of which must occur. */
  readonly text?: readonly Searchable<T>[] | undefined;
  /** Default: `uuid`. */
  readonly id?: IdKind | undefined;
}

type TextPath<T, P extends string> = P extends unknown
  ? unknown extends PathValue<T, P>
    ? P
    : [Extract<PathValue<T, P>, string>] extends [never]
      ? never
      : P
  : never;
/** The paths of a record type that may hold text. */
type Searchable<T> = string extends Path<T> ? string : TextPath<T, Path<T>> & string;

type SchemaPath<S extends StandardSchemaV1> = Path<StandardSchemaV1.InferOutput<S>>;

/** A collection whose type follows from a schema of any Standard Schema library (zod, valibot, arktype). */
export type SchemaCollectionSpec<S extends StandardSchemaV1, F extends string = SchemaPath<S>> = SpecOf<
  StandardSchemaV1.InferOutput<S>,
  F
> & {
  /** Checks values before I/O. Its output is stored, and must be valid input again. `patch` and `increment` do not run it. */
  readonly schema: S;
};

/** A collection whose type is said as a type argument. */
export type TypedCollectionSpec<T, F extends string = Path<T>> = SpecOf<T, F> & { readonly schema?: undefined };

/**
 * A collection's declaration, checked. Make it once, at the top of a module. `T` is what is stored and read, `In` what is
 * written: with a schema that has defaults or transforms they differ. `F` are the declared fields: what is sorted by. `I` is who
 * makes the ids.
 */
export interface CollectionDefinition<T, In = T, F extends string = Path<T>, I extends IdKind = IdKind> {
  readonly name: string;
  readonly schema: RecordSchema;
  readonly validator: StandardSchemaV1<In, T> | undefined;
  readonly ids: I;
  /** Declared fields of type `'date'`. */
  readonly dates: readonly F[];
  readonly domain: FilterDomain;
}

const NAME = /^[a-z][a-z0-9_]{0,47}$/;
const KEYS = ['name', 'schema', 'fields', 'indexes', 'unique', 'text', 'id'];
const INDEX_KEYS = ['keys', 'scope'];
const UNIQUE_KEYS = ['fields', 'name'];
const FIELD_KEYS = ['type', 'maxBytes'];
const TYPES = ['string', 'number', 'boolean', 'date'];

/**
 * Declares a collection. With a schema, the declared fields are known to the compiler: it refuses a sort by another. Where the
 * type is an argument they can be said as a second one, `defineCollection<Order, 'status' | 'total'>({ ... })`; without it
 * every path counts as declared, and a sort by one that is not is refused when it is asked.
 * @throws `VALIDATION` for a malformed declaration.
 */
export function defineCollection<T extends object = Record<string, unknown>, F extends Path<T> = Path<T>>(
  spec: TypedCollectionSpec<T, F> & { readonly id: 'given' },
): CollectionDefinition<T, T, F, 'given'>;
export function defineCollection<T extends object = Record<string, unknown>, F extends Path<T> = Path<T>>(
  spec: TypedCollectionSpec<T, F>,
): CollectionDefinition<T, T, F>;
// The last one, of which compilers tell why it does not fit.
export function defineCollection<
  S extends StandardSchemaV1<unknown, object>,
  F extends SchemaPath<S> = never,
  I extends IdKind = 'uuid',
>(
  spec: SchemaCollectionSpec<S, F> & { readonly id?: I | undefined },
): CollectionDefinition<StandardSchemaV1.InferOutput<S>, StandardSchemaV1.InferInput<S>, F, I>;
export function defineCollection(
  spec: SpecOf<unknown, string> & { schema?: StandardSchemaV1 | undefined },
): CollectionDefinition<unknown> {
  if (!isPlainObject(spec)) throw invalid('collection', spec, 'an object');
  checkKnown(spec, new Set(KEYS), 'collection');
  if (checkCollectionName(spec.name).startsWith('qm_'))
    throw invalid('collection.name', spec.name, "a name that does not begin with qm_ (the library's own)");
  return resolve(spec);
}

/** Declares a collection of the library's own, whose name begins with `qm_`. */
export function defineOwnCollection<T>(
  spec: TypedCollectionSpec<T> & { readonly name: `qm_${string}` },
): CollectionDefinition<T> {
  return resolve(spec) as CollectionDefinition<T>;
}

function resolve(
  spec: SpecOf<unknown, string> & { schema?: StandardSchemaV1 | undefined },
): CollectionDefinition<unknown> {
  const name = checkCollectionName(spec.name);
  const at = `collection ${name}`;
  // Defaults of what is not given: `null` is given, and refused below.
  const { indexes = [], unique = [], fields: declared = {}, text = [], id: ids = 'uuid' } = spec;
  checkMembers(indexes, INDEX_KEYS, `${at}: indexes`);
  checkMembers(unique, UNIQUE_KEYS, `${at}: unique`);
  const indexed = new Set([
    ...indexes.flatMap(({ keys }, i) => keys.map((key, j) => indexKey(key, `${at}: indexes[${i}].keys[${j}]`)[0])),
    ...unique.flatMap((constraint) => constraint.fields),
  ]);
  const fields = parseFields(declared, indexed, at);
  if (!isList(text)) throw invalid(`${at}: text`, text, 'a list of paths');
  const schema: RecordSchema = {
    name,
    fields,
    indexes: indexes.map((index, i) => parseIndex(index, fields, `${at}: indexes[${i}]`)),
    unique: parseUnique(unique, fields, at),
    text: text.map((path, i) => checkPath(path, `${at}: text[${i}]`)),
    ...(ids === 'sequence' ? { numbered: true } : {}),
  };
  const validator = spec.schema;
  const standard = (validator as Partial<StandardSchemaV1> | null | undefined)?.['~standard'];
  if (validator !== undefined && typeof standard?.validate !== 'function')
    throw invalid(`${at}: schema`, validator, 'a schema of a Standard Schema library (zod, valibot, arktype)');
  if (!['uuid', 'sequence', 'given'].includes(ids)) throw invalid(`${at}: id`, ids, "'uuid', 'sequence' or 'given'");
  return Object.freeze({
    name,
    schema,
    validator,
    ids,
    dates: [...fields].filter(([, field]) => field.type === 'date').map(([path]) => path),
    domain: recordDomain(schema, ids),
  });
}

/** A list of objects of these members, of which the first is a list. */
function checkMembers(given: unknown, members: readonly string[], at: string): void {
  if (!isList(given)) throw invalid(at, given, 'a list');
  const list = members[0]!;
  for (const [i, item] of given.entries()) {
    if (!isPlainObject(item) || !isList(item[list]))
      throw invalid(`${at}[${i}]`, item, `an object with a list of ${list}`);
    checkKnown(item, new Set(members), `${at}[${i}]`);
  }
}

function recordDomain(schema: RecordSchema, ids: IdKind): FilterDomain {
  return {
    declared: new Map([...schema.fields].map(([path, field]) => [path, field.type])),
    envelope: ENVELOPE,
    values: 'json',
    ...(schema.text.length > 0 ? { tokenize } : {}),
    ...(ids === 'sequence' ? { encodeId: encodeSequenceId } : {}),
  };
}

/** @throws `VALIDATION` for a name that is not `[a-z][a-z0-9_]{0,47}`. */
export function checkCollectionName(name: unknown): string {
  if (typeof name !== 'string' || !NAME.test(name))
    throw invalid('collection.name', name, 'a name of the form [a-z][a-z0-9_]{0,47}');
  return name;
}

function checkPath(path: unknown, at: string): string {
  if (typeof path !== 'string') throw invalid(at, path, 'a dotted path');
  const fault = pathFault(path);
  if (fault !== undefined) throw invalid(at, path, `a path that can be named (it ${fault})`);
  if (ENVELOPE.has(path))
    throw invalid(at, path, `a path other than ${[...ENVELOPE.keys()].join(', ')} (those mean the envelope)`);
  return path;
}

function parseFields(
  declarations: Readonly<Record<string, FieldDeclaration | undefined>>,
  indexed: ReadonlySet<string>,
  at: string,
): Map<string, FieldSchema> {
  if (!isPlainObject(declarations)) throw invalid(`${at}: fields`, declarations, 'an object of paths and types');
  const fields = new Map<string, FieldSchema>();
  for (const [path, declaration] of Object.entries(declarations)) {
    const key = `${at}: fields.${path}`;
    checkPath(path, key);
    if (typeof declaration !== 'string' && !isPlainObject(declaration))
      throw invalid(key, declaration, `one of ${TYPES.join(', ')}, or an object of ${FIELD_KEYS.join(' and ')}`);
    if (typeof declaration === 'object') checkKnown(declaration, new Set(FIELD_KEYS), key);
    const { type, maxBytes = indexed.has(path) ? LIMITS.indexedStringBytes : LIMITS.recordBytes } =
      typeof declaration === 'object' ? declaration : { type: declaration };
    if (type === undefined || !TYPES.includes(type)) throw invalid(key, type, `one of ${TYPES.join(', ')}`);
    if (!Number.isSafeInteger(maxBytes) || maxBytes < 1)
      throw invalid(`${key}.maxBytes`, maxBytes, 'a whole number of bytes above 0');
    fields.set(path, { type, maxBytes });
  }
  for (const path of fields.keys())
    for (const other of fields.keys())
      if (other.startsWith(`${path}.`))
        throw invalid(`${at}: fields.${other}`, other, `no field below the declared field ${path}`);
  return fields;
}
