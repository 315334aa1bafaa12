/** Between a host's records and stored ones: ids, validation, dates, patches; and from results to errors. */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { ConflictError, invalid, NotFoundError, StorageError, ValidationError } from '../errors.js';
import { isDate, isPlainObject } from '../filter/json.js';
import { pathFault } from '../filter/fields.js';
import type { JsonObject, JsonValue, PatchChanges, RecordBackend, Stored, WriteResult } from '../backends/backend.js';
import { decodeSequenceId, encodeSequenceId, isSequenceId, type CollectionDefinition } from './definition.js';
import { applyPatch, patchSteps, patchTree, type PatchStep } from '../backends/patch.js';
import { checkField, checkId, decodeValue, encodeElement, encodeValue, type Encoded } from '../backends/value.js';

/** A record as a host gets it: a copy of its own. */
export interface StoredRecord<T> {
  readonly id: string;
  /** Starts at 1, grows by 1 with each write. */
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  /** Absent: never. */
  readonly expiresAt?: Date;
  readonly value: T;
}

const MAX_TIME = Date.UTC(9999, 11, 31);
const MAX_TTL = 1_000 * 365.25 * 86_400_000;

export class RecordCodec<T> {
  constructor(
    private readonly definition: CollectionDefinition<T, unknown>,
    private readonly maxBytes: number,
  ) {}

  get component(): string {
    return `collection:${this.definition.name}`;
  }

  /** Whether the caller has to name the id of a new record. */
  get needsId(): boolean {
    return this.definition.ids === 'given';
  }

  /** @throws `VALIDATION` for what cannot be an id. */
  encodeId(id: unknown, key = 'id'): string {
    const text = checkId(id, key);
    return this.definition.ids === 'sequence' ? encodeSequenceId(text) : text;
  }

  /** As `encodeId`, for an id under which a record may come to be. */
  encodeNewId(id: unknown): string {
    const text = this.encodeId(id);
    if (this.definition.ids === 'sequence' && !isSequenceId(id as string))
      throw invalid('id', id, 'a whole number above 0 in decimal digits (the ids of this collection are a sequence)');
    return text;
  }

  decodeId(stored: string): string {
    return this.definition.ids === 'sequence' ? decodeSequenceId(stored) : stored;
  }

  /** Runs the schema, then checks and copies. @throws `VALIDATION` with every issue of the schema. */
  encode(value: unknown): Encoded | Promise<Encoded> {
    const { validator, schema } = this.definition;
    return validator === undefined ? encodeValue(value, schema, this.maxBytes) : this.validated(validator, value);
  }

  private async validated(validator: StandardSchemaV1<unknown, T>, value: unknown): Promise<Encoded> {
    const outcome = await validator['~standard'].validate(value);
    if (outcome.issues !== undefined) throw schemaFault(outcome.issues, this.component);
    return encodeValue(outcome.value, this.definition.schema, this.maxBytes);
  }

  /** Takes the stored record over: its value becomes the host's. */
  decode(stored: Stored): StoredRecord<T> {
    const { id, version, createdAt, updatedAt, expiresAt } = stored;
    const value = decodeValue(stored.value, this.definition.dates) as T;
    const record = { id: this.decodeId(id), version, createdAt, updatedAt, value };
    return expiresAt === undefined ? record : { ...record, expiresAt };
  }

  /** @throws `VALIDATION` unless absent or a number of milliseconds above 0. */
  checkTtl(ttl: unknown): void {
    if (ttl !== undefined && (typeof ttl !== 'number' || !(ttl > 0) || ttl > MAX_TTL))
      throw invalid('ttl', ttl, 'a number of milliseconds above 0 and at most a thousand years');
  }

  expiry(ttl: number, now: Date): Date {
    return new Date(now.getTime() + Math.ceil(ttl));
  }

  /** Checks a host's patch and encodes its values. @throws `VALIDATION` */
  encodePatch(changes: unknown): PatchChanges {
    if (!isPlainObject(changes)) throw invalid('changes', changes, 'an object of set, unset, increment and push');
    for (const key of Object.keys(changes))
      if (!['set', 'unset', 'increment', 'push'].includes(key))
        throw invalid(`changes.${key}`, changes[key], 'one of set, unset, increment, push');
    const { set = {}, unset = [], increment = {}, push = {} } = changes;
    for (const [key, part] of Object.entries({ set, increment, push }))
      if (!isPlainObject(part)) throw invalid(`changes.${key}`, part, 'an object of paths');
    if (!Array.isArray(unset)) throw invalid('changes.unset', unset, 'an array of paths');
    const encoded = {
      set: this.encodeParts(set as Record<string, unknown>, 'set'),
      unset: unset.map((path: unknown, i) => checkPatchPath(path, `changes.unset[${i}]`)),
      increment: this.encodeParts(increment as Record<string, unknown>, 'increment') as Record<string, number>,
      push: this.encodeParts(push as Record<string, unknown>, 'push'),
    };
    for (const [path, step] of patchSteps(encoded)) this.checkStep(path, step);
    const tree = patchTree(encoded);
    if ('overlap' in tree)
      throw new ValidationError('VALIDATION', `changes: two of them meet at ${tree.overlap}`, {
        details: { path: tree.overlap },
      });
    if (tree.children.size === 0) throw invalid('changes', changes, 'at least one change');
    return encoded;
  }

  /** The value to insert with the changes made in it. @throws `VALIDATION` when one does not fit. */
  applyToInsert(value: JsonObject, changes: PatchChanges): JsonObject {
    const tree = patchTree(changes);
    const outcome = 'overlap' in tree ? undefined : applyPatch(value, tree);
    if (outcome?.ok === true) return outcome.value;
    const { path, reason } = outcome ?? { path: '', reason: 'not-an-object' as const };
    throw new ValidationError('VALIDATION', `orInsert: ${FAULTS[reason]} at ${JSON.stringify(path)}`, {
      details: { key: 'orInsert', path, reason },
    });
  }

  /** Whether a patch reaches into what `$text` searches: its words must then be made anew from the whole value. */
  touchesText(changes: PatchChanges): boolean {
    const { text } = this.definition.schema;
    if (text.length === 0) return false;
    return [...patchSteps(changes)].some(([path]) => text.some((other) => overlap(path, other)));
  }

  private encodeParts(parts: Record<string, unknown>, kind: 'set' | 'increment' | 'push'): Record<string, JsonValue> {
    const encoded: Record<string, JsonValue> = {};
    for (const [path, value] of Object.entries(parts)) {
      const at = `changes.${kind}.${path}`;
      checkPatchPath(path, at);
      if (kind === 'increment' && (typeof value !== 'number' || !Number.isFinite(value)))
        throw invalid(at, value, 'a finite number');
      const element = kind === 'push' ? `${path}[]` : path;
      encoded[path] = encodeElement(value, this.definition.schema, element, at);
    }
    return encoded;
  }

  /** What a step leaves must fit the declared fields at, above and below its path. */
  private checkStep(path: string, step: PatchStep): void {
    if (step.op === 'unset') return;
    for (const [field, declared] of this.definition.schema.fields) {
      if (!overlap(path, field)) continue;
      const at = `changes.${step.op}.${path}`;
      if (path === field) {
        if (step.op === 'increment' ? declared.type !== 'number' : step.op === 'push')
          throw invalid(at, undefined, `a change that leaves a ${declared.type} (as declared)`);
        if (step.op === 'set') checkField(field, step.value, declared);
      } else if (path.startsWith(`${field}.`)) {
        throw invalid(at, undefined, `no change below the declared field ${field}`);
      } else if (step.op === 'push') {
        throw invalid(at, [], `no array on the way to the declared field ${field}`);
      } else if (step.op === 'set') {
        checkBelow(field, field.slice(path.length + 1).split('.'), step.value, declared, at);
      }
    }
  }

  missing(id: string, operation: string): StorageError {
    return this.failure({ status: 'missing' }, id, operation)!;
  }

  /** The error of a failed write; `written`, `patched` and `deleted` are none. */
  failure(result: WriteResult, id: string, operation: string): StorageError | undefined {
    if (SUCCEEDED.has(result.status)) return undefined;
    const shown = this.decodeId(id);
    const options = { component: this.component, operation, details: { collection: this.definition.name, id: shown } };
    const at = `${this.definition.name}: the record ${JSON.stringify(shown)}`;
    switch (result.status) {
      case 'missing':
        return new NotFoundError(`${at} is not there`, options);
      case 'exists':
        return new ConflictError('ALREADY_EXISTS', `${at} exists already`, {
          ...options,
          details: { ...options.details, constraint: 'id', existingId: shown },
        });
      case 'conflict':
        return new ConflictError('CONFLICT', `${at} has version ${result.version} by now`, {
          ...options,
          details: { ...options.details, reason: 'version', version: result.version },
        });
      case 'unmatched':
        return new ConflictError('CONFLICT', `${at} does not match the condition`, {
          ...options,
          details: { ...options.details, reason: 'condition', version: result.version },
        });
      case 'invalid':
        return new ValidationError('VALIDATION', `${at}: ${FAULTS[result.reason]} at ${JSON.stringify(result.path)}`, {
          ...options,
          details: { ...options.details, path: result.path, reason: result.reason },
        });
      default:
        return undefined;
    }
  }
}

const SUCCEEDED: ReadonlySet<string> = new Set(['written', 'patched', 'deleted', 'skipped']);

const FAULTS = {
  'not-an-object': 'no object to change into',
  'not-a-number': 'no number to add to',
  'not-an-array': 'no array to append to',
  overflow: 'the sum would not be a finite number',
  'too-large': 'the record would grow too large',
} as const;

function checkPatchPath(path: unknown, at: string): string {
  if (typeof path !== 'string') throw invalid(at, path, 'a dotted path');
  const fault = pathFault(path);
  if (fault !== undefined) throw invalid(at, path, `a path that can be named (it ${fault})`);
  return path;
}

function checkBelow(
  field: string,
  segments: readonly string[],
  value: JsonValue,
  declared: { type: 'string' | 'number' | 'boolean' | 'date'; maxBytes: number },
  at: string,
): void {
  let current: JsonValue | undefined = value;
  for (const segment of segments) {
    if (Array.isArray(current)) throw invalid(at, current, `no array on the way to the declared field ${field}`);
    if (typeof current !== 'object' || current === null || !Object.hasOwn(current, segment)) return;
    current = (current as JsonObject)[segment];
  }
  if (current !== undefined) checkField(field, current, declared);
}

function overlap(a: string, b: string): boolean {
  return a === b || a.startsWith(`${b}.`) || b.startsWith(`${a}.`);
}

function schemaFault(issues: readonly StandardSchemaV1.Issue[], component: string): ValidationError {
  const faults = issues.map((issue) => ({
    path: (issue.path ?? []).map((part) => String(typeof part === 'object' ? part.key : part)).join('.'),
    message: issue.message,
  }));
  const text = faults.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`)).join('; ');
  return new ValidationError('VALIDATION', `value: ${text}`, { component, details: { key: 'value', issues: faults } });
}

/** @throws `VALIDATION` unless absent or a whole number above 0. */
export function checkVersion(ifVersion: unknown): number | undefined {
  if (ifVersion === undefined) return undefined;
  if (!Number.isSafeInteger(ifVersion) || (ifVersion as number) < 1)
    throw invalid('ifVersion', ifVersion, 'a whole number above 0');
  return ifVersion as number;
}

/** @throws `VALIDATION` unless absent or a valid Date. */
export function checkDate(value: unknown, key: string): Date | undefined {
  if (value === undefined) return undefined;
  if (!isDate(value) || Number.isNaN(value.getTime()) || Math.abs(value.getTime()) > MAX_TIME)
    throw invalid(key, value, 'a Date before the year 9999');
  return value;
}

/** @throws `UNSUPPORTED` where the backend cannot keep what the collection declares. */
export function checkDeclared(
  definition: Pick<CollectionDefinition<unknown>, 'name' | 'schema'>,
  backend: RecordBackend,
): void {
  const { unique, text } = backend.capabilities;
  const missing = [
    ...(definition.schema.unique.length > 0 && !unique ? ['unique constraints'] : []),
    ...(definition.schema.text.length > 0 && !text ? ['$text'] : []),
  ];
  if (missing.length > 0)
    throw new StorageError(
      'UNSUPPORTED',
      `${backend.name} cannot keep ${missing.join(' and ')} of ${definition.name}`,
      {
        component: `collection:${definition.name}`,
      },
    );
}
