/** Between a host's records and stored ones: ids, validation, dates, patches; and from results to errors. */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { ConflictError, invalid, isStorageError, NotFoundError, StorageError, ValidationError } from '../errors.js';
import { isDate } from '../filter/json.js';
import type { JsonObject, PatchChanges, RecordBackend, Stored, WriteResult } from '../backends/backend.js';
import type { CollectionDefinition } from './definition.js';
import { applyPatch, patchSteps, patchTree } from '../backends/patch.js';
import { decodeSequenceId, encodeSequenceId, isBroughtId } from '../backends/sequence-id.js';
import { checkId, decodeValue, encodeValue, type Encoded } from '../backends/value.js';
import { encodePatch, overlap } from './patch-codec.js';

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

const MIN_TIME = Date.parse('0000-01-01T00:00:00.000Z');
const MAX_TIME = Date.parse('9999-12-31T23:59:59.999Z');
const MAX_TTL = 1_000 * 365.25 * 86_400_000;

export class RecordCodec<T> {
  constructor(
    private readonly definition: CollectionDefinition<T, unknown, string>,
    private readonly maxBytes: number,
  ) {}

  get component(): string {
    return `collection:${this.definition.name}`;
  }

  /** Whether the caller has to name the id of a new record. */
  get needsId(): boolean {
    return this.definition.ids === 'given';
  }

  /** @throws `VALIDATION` for what cannot be an id. Here and below, `item` names one of several in errors. */
  encodeId(id: unknown, key = 'id', item?: string): string {
    try {
      const text = checkId(id, key);
      return this.definition.ids === 'sequence' ? encodeSequenceId(text) : text;
    } catch (error) {
      throw this.named(error, item);
    }
  }

  /** As `encodeId`, for an id under which a record may come to be. */
  encodeNewId(id: unknown, item?: string): string {
    const text = this.encodeId(id, 'id', item);
    if (this.definition.ids !== 'sequence' || isBroughtId(id as string)) return text;
    const expected = 'a whole number from 1 to 2^52 in decimal digits (the ids of this collection are a sequence)';
    throw this.named(invalid('id', id, expected), item);
  }

  decodeId(stored: string): string {
    return this.definition.ids === 'sequence' ? decodeSequenceId(stored) : stored;
  }

  /** Runs the schema, then checks and copies. @throws `VALIDATION` with every issue of the schema. */
  encode(value: unknown, item?: string): Encoded | Promise<Encoded> {
    const { validator } = this.definition;
    return validator === undefined ? this.checked(value, item) : this.validated(validator, value, item);
  }

  private async validated(validator: StandardSchemaV1<unknown, T>, value: unknown, item?: string): Promise<Encoded> {
    const outcome = await validator['~standard'].validate(value);
    if (outcome.issues !== undefined) throw this.named(schemaFault(outcome.issues), item);
    return this.checked(outcome.value, item);
  }

  private checked(value: unknown, item: string | undefined): Encoded {
    try {
      return encodeValue(value, this.definition.schema, this.maxBytes);
    } catch (error) {
      throw this.named(error, item);
    }
  }

  /** The same fault with the collection it is in: a host that writes to several is told which. */
  private named(error: unknown, item?: string): unknown {
    if (!isStorageError(error, 'VALIDATION')) return error;
    const { name: collection } = this.definition;
    const at = item === undefined ? collection : `${collection}: ${item}`;
    return new ValidationError('VALIDATION', `${at}: ${error.message}`, {
      component: this.component,
      details: { ...error.details, collection, ...(item === undefined ? {} : { item }) },
    });
  }

  /** Takes the stored record over: its value becomes the host's. */
  decode(stored: Stored): StoredRecord<T> {
    const { id, version, createdAt, updatedAt, expiresAt } = stored;
    const value = decodeValue(stored.value, this.definition.dates) as T;
    const record = { id: this.decodeId(id), version, createdAt, updatedAt, value };
    return expiresAt === undefined ? record : { ...record, expiresAt };
  }

  /** @throws `VALIDATION` unless absent or a number of milliseconds above 0. */
  checkTtl(ttl: unknown, item?: string): void {
    if (ttl === undefined || (typeof ttl === 'number' && ttl > 0 && ttl <= MAX_TTL)) return;
    throw this.named(invalid('ttl', ttl, 'a number of milliseconds above 0 and at most a thousand years'), item);
  }

  expiry(ttl: number, now: Date): Date {
    return new Date(now.getTime() + Math.ceil(ttl));
  }

  /** Checks a host's patch and encodes its values. @throws `VALIDATION` */
  encodePatch(changes: unknown): PatchChanges {
    try {
      return encodePatch(changes, this.definition.schema);
    } catch (error) {
      throw this.named(error);
    }
  }

  /** The value to insert with the changes made in it. @throws `VALIDATION` when one does not fit. */
  applyToInsert(value: JsonObject, changes: PatchChanges): JsonObject {
    const tree = patchTree(changes);
    const outcome = 'overlap' in tree ? undefined : applyPatch(value, tree);
    if (outcome?.ok === true) return outcome.value;
    const { path, reason } = outcome ?? { path: '', reason: 'not-an-object' as const };
    throw this.named(
      new ValidationError('VALIDATION', `orInsert: ${FAULTS[reason]} at ${JSON.stringify(path)}`, {
        details: { key: 'orInsert', path, reason },
      }),
    );
  }

  /** Whether a patch reaches into what `$text` searches: its words must then be made anew from the whole value. */
  touchesText(changes: PatchChanges): boolean {
    const { text } = this.definition.schema;
    if (text.length === 0) return false;
    return [...patchSteps(changes)].some(([path]) => text.some((other) => overlap(path, other)));
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

function schemaFault(issues: readonly StandardSchemaV1.Issue[]): ValidationError {
  const faults = issues.map((issue) => ({
    path: (issue.path ?? []).map((part) => String(typeof part === 'object' ? part.key : part)).join('.'),
    message: issue.message,
  }));
  const text = faults.map(({ path, message }) => `${path === '' ? 'value' : `value.${path}`}: ${message}`).join('; ');
  return new ValidationError('VALIDATION', text, { details: { key: 'value', issues: faults } });
}

/** @throws `VALIDATION` unless absent or a whole number above 0. */
export function checkVersion(ifVersion: unknown, key = 'ifVersion'): number | undefined {
  if (ifVersion === undefined) return undefined;
  if (!Number.isSafeInteger(ifVersion) || (ifVersion as number) < 1)
    throw invalid(key, ifVersion, 'a whole number above 0');
  return ifVersion as number;
}

/** Whether the time of a record can be kept: its ISO text sorts as it does. */
export function isStorableTime(date: Date): boolean {
  const time = date.getTime();
  return time >= MIN_TIME && time <= MAX_TIME;
}

/** @throws `VALIDATION` unless absent or a Date that can be kept. */
export function checkDate(value: unknown, key: string): Date | undefined {
  if (value === undefined) return undefined;
  if (!isDate(value) || !isStorableTime(value)) throw invalid(key, value, 'a Date of the years 0000 to 9999');
  return value;
}

/** @throws `UNSUPPORTED` where the backend cannot keep what the collection declares. */
export function checkDeclared(
  definition: Pick<CollectionDefinition<unknown, unknown, string>, 'name' | 'schema'>,
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
