/** Writes of one collection: from results to records and errors, and the loop that reads, changes and tries again. */
import { sleep, type Clock } from '../clock.js';
import type { OperationContext } from '../component.js';
import { ConflictError, invalid, StorageError } from '../errors.js';
import type {
  JsonObject,
  RecordBackend,
  RecordSchema,
  Stored,
  TenantScope,
  Write,
  WriteResult,
} from '../backends/backend.js';
import { applyPatch, patchTree } from '../backends/patch.js';
import { MAX_VALUE_BYTES } from '../backends/plan.js';
import { jsonBytes } from '../backends/value.js';
import type { RecordCodec, StoredRecord } from './record-codec.js';
import { evaluate, recordSubject } from '../filter/evaluate.js';

/** How often `readAndWrite` reads and tries again before it gives up with `CONFLICT`. */
const ATTEMPTS = 10;

export class RecordWriter<T> {
  constructor(
    private readonly backend: RecordBackend,
    private readonly scope: TenantScope,
    private readonly schema: RecordSchema,
    private readonly codec: RecordCodec<T>,
    private readonly clock: Clock,
  ) {}

  async writeOne(write: Write, operation: string, context: OperationContext): Promise<StoredRecord<T>> {
    const result = (await this.backend.write(this.scope, [write], context))[0]!;
    const failure = this.codec.failure(result, write.id, operation);
    if (failure !== undefined) throw failure;
    return this.codec.decode(this.stored(write, result, context.now));
  }

  /** @throws the error of the first write whose condition failed; nothing is written then. */
  async write(writes: readonly Write[], operation: string, context: OperationContext): Promise<StoredRecord<T>[]> {
    const results = await this.backend.write(this.scope, writes, context);
    results.forEach((result, i) => {
      const failure = this.codec.failure(result, writes[i]!.id, operation);
      if (failure !== undefined) throw failure;
    });
    return writes.map((write, i) => this.codec.decode(this.stored(write, results[i]!, context.now)));
  }

  /** Of the record that was read, and of none that was made anew in its place. */
  replacement(
    { id, version, createdAt }: Pick<Stored, 'id' | 'version' | 'createdAt'>,
    value: JsonObject,
    expiresAt: Date | undefined,
  ): Write {
    const same = { ifVersion: version, ifCreatedAt: createdAt };
    const write = { collection: this.schema, id, kind: 'replace', value, ...same } as const;
    return expiresAt === undefined ? write : { ...write, expiresAt };
  }

  /**
   * Reads a record, makes a conditional write of it and tries again when another writer was faster; not of a version that the
   * caller named: what is there then is another. `plan` gives `undefined` when there is nothing to be done with a missing record.
   */
  async readAndWrite(
    id: string,
    operation: string,
    context: OperationContext,
    ifVersion: number | undefined,
    plan: (stored: Stored | undefined) => Promise<Write | undefined>,
  ): Promise<StoredRecord<T>> {
    for (let attempt = 1; ; attempt++) {
      const [stored] = await this.backend.read(this.scope, [{ collection: this.schema, id }], context);
      const write = await plan(stored);
      if (write === undefined) throw this.codec.missing(id, operation);
      const [result] = await this.backend.write(this.scope, [write], context);
      const failure = this.codec.failure(result!, id, operation);
      if (failure === undefined) return this.codec.decode(this.stored(write, result!, context.now));
      if (ifVersion !== undefined) throw failure;
      if (attempt === ATTEMPTS) throw exhausted(failure, attempt);
      await sleep(this.clock, Math.random() * 2 ** attempt, context.signal);
    }
  }

  /** A patch of what `$text` searches: the words are made from the whole value, so the whole value is replaced. */
  patchByReplacing(
    write: Write & { kind: 'patch' },
    operation: string,
    context: OperationContext,
  ): Promise<StoredRecord<T>> {
    const { id, changes, ifVersion, orInsert } = write;
    const tree = patchTree(changes);
    if ('overlap' in tree) throw invalid('changes', changes, 'paths that do not meet');
    return this.readAndWrite(id, operation, context, ifVersion, async (stored) => {
      if (stored === undefined) {
        if (orInsert === undefined) return undefined;
        const insert = { collection: this.schema, id, kind: 'insert', value: orInsert } as const;
        return write.expiresAt ? { ...insert, expiresAt: write.expiresAt } : insert;
      }
      const { version } = stored;
      const refuse = (result: WriteResult): never => {
        throw this.codec.failure(result, id, operation)!;
      };
      if (ifVersion !== undefined && ifVersion !== version) return refuse({ status: 'conflict', version });
      if (write.if !== undefined && !evaluate(write.if, recordSubject(stored, this.schema.text)))
        return refuse({ status: 'unmatched', version });
      const outcome = applyPatch(stored.value, tree);
      if (!outcome.ok) return refuse({ status: 'invalid', path: outcome.path, reason: outcome.reason });
      if (jsonBytes(outcome.value) > MAX_VALUE_BYTES)
        return refuse({ status: 'invalid', path: '', reason: 'too-large' });
      const expiresAt = write.expiresAt === undefined ? stored.expiresAt : (write.expiresAt ?? undefined);
      return this.replacement(stored, outcome.value, expiresAt);
    });
  }

  private stored(write: Write, result: WriteResult, now: Date): Stored {
    if (result.status === 'patched') return result.record;
    if (result.status === 'deleted' && result.record !== undefined) return result.record;
    if (result.status !== 'written' || write.kind === 'patch' || write.kind === 'delete')
      throw new StorageError('INTERNAL', `${this.backend.name} answered ${result.status} to ${write.kind}`);
    const { version, createdAt } = result;
    const record = {
      tenant: this.scope.tenant,
      id: write.id,
      version,
      createdAt,
      updatedAt: now,
      value: write.value,
    };
    return write.expiresAt === undefined ? record : { ...record, expiresAt: write.expiresAt };
  }
}

function exhausted(failure: StorageError, attempts: number): StorageError {
  return new ConflictError('CONFLICT', `${failure.message}, after ${attempts} tries`, {
    component: failure.component,
    operation: failure.operation,
    retryable: true,
    details: failure.details,
    cause: failure,
  });
}
