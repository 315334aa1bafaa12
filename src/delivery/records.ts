/**
 * Writes to a collection on another database than the transaction: left in its outbox, written after its commit. On its own, at
 * once.
 */
import type { JsonValue, RecordBackend, RecordSchema, Write } from '../backends/backend.js';
import { Collection } from '../collection/collection.js';
import type { CollectionDefinition, IdKind } from '../collection/definition.js';
import { digest } from '../collection/digest.js';
import { runOperation, type CollectionHost } from '../collection/host.js';
import type { Patch, SaveArguments } from '../collection/options.js';
import { RecordCodec } from '../collection/record-codec.js';
import { invalid, UnsupportedError } from '../errors.js';
import { decodeCall, encodeCall } from './call.js';
import { checkCall, reached } from './checking.js';
import { DONE, requireAtomic, topicOf, type Delivery, type Leave } from './message.js';

interface Lifetime {
  /** Milliseconds from the call, not from the delivery. */
  readonly ttl?: number | undefined;
}

interface NewRecordOptions extends Lifetime {
  readonly id?: string | undefined;
}

/** A write as it is delivered. */
export interface DeliveredWrite {
  readonly database: string;
  readonly write: Write;
}

/** What a collection's writes are where they are delivered: without conditions, since nobody waits for the answer. */
export class DeliveredCollection<T, In = T, I extends IdKind = IdKind> {
  /**
   * @param on the name of the database
   * @param own what the transaction's own writes stand on, where the collection lives there
   */
  constructor(
    private readonly definition: CollectionDefinition<T, In, string>,
    private readonly host: CollectionHost,
    private readonly on: string,
    private readonly leave: Leave,
    private readonly own: CollectionHost | undefined,
  ) {
    requireAtomic(host.backend, on);
    if (definition.ids === 'sequence')
      throw new UnsupportedError(`${definition.name}: its database numbers its ids, which cannot be told before`, {
        operation: 'deliver',
      });
  }

  /** Inserts, or replaces what is under `id` by then. */
  save(value: In, ...[options]: SaveArguments<I, NewRecordOptions>): Promise<Delivery> {
    return this.later((collection) => collection.save(value, options));
  }

  /** One whose id is there by then becomes a dead letter. */
  insert(value: In, ...[options]: SaveArguments<I, NewRecordOptions>): Promise<Delivery> {
    return this.later((collection) => collection.insert(value, options));
  }

  /** One that is not there by then is looked for again, and becomes a dead letter in the end. */
  replace(id: string, value: In, options: Lifetime = {}): Promise<Delivery> {
    return this.later((collection) => collection.replace(id, value, options));
  }

  /** As `replace`, unless there is an `orInsert`. @throws `UNSUPPORTED` for what `$text` searches: that has to be read first */
  patch(id: string, changes: Patch<T>, options: { readonly orInsert?: T | undefined } = {}): Promise<Delivery> {
    return this.later((collection) => collection.patch(id, changes, options));
  }

  /** Whether it is there by then or not. */
  delete(id: string): Promise<Delivery> {
    return this.later((collection) => collection.delete(id));
  }

  private later(call: (collection: Collection<T, In, string>) => Promise<unknown>): Promise<Delivery> {
    return this.leave.during(() => this.leaveWrite(call));
  }

  private async leaveWrite(call: (collection: Collection<T, In, string>) => Promise<unknown>): Promise<Delivery> {
    const { definition, on, host } = this;
    let write: Write | undefined;
    const collection = new Collection(
      definition,
      recordingHost(host, (first) => (write = first)),
    );
    await checkCall(`${definition.name} on ${on}`, () => call(collection));
    if (write === undefined)
      throw new UnsupportedError(`${definition.name}: what has to be read before it is written is not delivered`, {
        operation: 'deliver',
      });
    for (const key of ['if', 'ifVersion'])
      if (key in write) throw invalid(`options.${key}`, '', 'none: nobody waits for what becomes of the condition');
    if (this.own !== undefined) return this.writeWith(this.own, write);
    const key = digest([host.backend.pool.name, definition.name, write.id]);
    const payload = encodeWrite({ database: on, write });
    const [left] = await this.leave.messages([{ topic: topicOf('records'), key, payload }]);
    return left!;
  }

  /** With the transaction: the arguments as they were at the call. */
  private async writeWith(own: CollectionHost, write: Write): Promise<Delivery> {
    const { backend, tenant } = own;
    const codec = new RecordCodec(this.definition, backend.capabilities.maxRecordBytes);
    await runOperation(own, [write.collection], write.kind, undefined, async (context) => {
      const [result] = await backend.write({ tenant }, [write], context);
      if (write.kind === 'delete' && result!.status === 'missing') return;
      const failure = codec.failure(result!, write.id, write.kind);
      if (failure !== undefined) throw failure;
    });
    return DONE;
  }
}

/** Notes what would be written, and does nothing. */
function recordingHost(host: CollectionHost, note: (write: Write) => void): CollectionHost {
  const { name, capabilities, pool } = host.backend;
  const touch = async (): Promise<never> => reached();
  const write = async (_scope: unknown, [first]: readonly Write[]): Promise<never> => {
    note(first!);
    return reached();
  };
  const reads = { read: touch, find: touch, count: touch, sweep: touch };
  const backend: RecordBackend = {
    ...{ name, capabilities, pool, write, ...reads },
    ...{ ensure: touch, open: touch, check: touch, close: touch },
  };
  const context = { now: host.clock.now(), deadline: Infinity };
  return { ...host, backend, begin: () => ({ context, end: () => undefined }), ensure: () => undefined };
}

/** With the declaration: who delivers it may not know the collection. */
function encodeWrite({ database, write: { collection, ...write } }: DeliveredWrite): JsonValue {
  const { name, fields, indexes, unique, text } = collection;
  const schema = { name, fields: [...fields], indexes, unique, text };
  return encodeCall([{ database, schema, write }])[0]!;
}

export function decodeWrite(payload: JsonValue): DeliveredWrite {
  const [decoded] = decodeCall([payload]) as [
    {
      readonly database: string;
      readonly schema: Omit<RecordSchema, 'fields'> & { readonly fields: Iterable<[string, never]> };
      readonly write: object;
    },
  ];
  const { database, schema, write } = decoded;
  const collection: RecordSchema = { ...schema, fields: new Map(schema.fields) };
  return { database, write: { ...write, collection } as Write };
}
