/** Writing vectors: checked, cut into batches, one on its way while the next is read. */
import { boundsNow, type CallOptions } from '../../component.js';
import { invalid, isStorageError, reworded } from '../../errors.js';
import { BulkAttempts } from '../../loading/bulk.js';
import { checkSource } from '../../loading/source.js';
import { VECTOR_LIMITS as LIMITS } from '../codec/limits.js';
import { encodeRecord, encodeRecords } from '../codec/record.js';
import { sameSchema } from '../codec/schema.js';
import { VectorSlab } from '../codec/slab.js';
import { checkCollectionName } from '../codec/values.js';
import type { VectorProvider, VectorSchema } from '../provider.js';
import { VectorCollections } from './collections.js';
import type {
  Metadata,
  NamespaceOptions,
  UpsertOptions,
  UpsertReport,
  VectorLoadOptions,
  VectorRecord,
} from './options.js';
import { checkOptions } from './plan.js';
import { askSchema, madeAnew, withSchema } from './schemas.js';
import { upsertEncoded, upsertSource, type UpsertTarget } from './upsert.js';

const HOUR = 3_600_000;

export abstract class VectorWriter extends VectorCollections {
  /**
   * Writes records; one that is there is replaced whole. An array is checked whole before any I/O; an iterable batch by
   * batch, what cannot be stored is reported and the rest written. Batches follow one another; each is an operation.
   * @throws `NOT_FOUND`; `VALIDATION` with the record's index and key; `CONFLICT` when another collection took the name.
   */
  async upsert<M = Metadata>(
    name: string,
    records: Iterable<VectorRecord<M>> | AsyncIterable<VectorRecord<M>>,
    options?: UpsertOptions,
  ): Promise<UpsertReport> {
    checkOptions(options, ['onProgress']);
    const { provider } = this;
    return this.during('upsert', () => this.writeAll('upsert', name, records, options, provider.upsert.bind(provider)));
  }

  /**
   * As `upsert`, the fast way in for many records whose ids are new, where the provider has one. Ids that are there are
   * replaced all the same. An index that was dropped is built also when the writing has ended early.
   * @throws as `upsert`; where the index cannot be built what says so, with `details.written`, or what ended the writing as
   * its cause.
   */
  async load<M = Metadata>(
    name: string,
    records: Iterable<VectorRecord<M>> | AsyncIterable<VectorRecord<M>>,
    options: VectorLoadOptions = {},
  ): Promise<UpsertReport> {
    checkOptions(options, ['onProgress', 'deferIndex', 'indexTimeout']);
    const { deferIndex = false, indexTimeout = HOUR, ...rest } = options;
    if (typeof deferIndex !== 'boolean') throw invalid('deferIndex', deferIndex, 'true or false');
    const { provider } = this;
    let dropped = false;
    const bulk = new BulkAttempts();
    const write: VectorProvider['upsert'] = async (schema, scope, batch, context) => {
      const inBulk =
        provider.bulkLoad !== undefined &&
        schema.text === undefined &&
        (await bulk.write(() => provider.bulkLoad!(schema, scope, batch, context)));
      return inBulk ? {} : provider.upsert(schema, scope, batch, context);
    };
    const dropIndex = async (schema: VectorSchema): Promise<void> => {
      if (!deferIndex || provider.dropIndex === undefined) return;
      await this.run(
        'dropIndex',
        rest,
        (context) => {
          // Refused before anything is done: the index is there.
          if (context.session === undefined) dropped = true;
          return provider.dropIndex!(schema, context);
        },
        name,
      );
    };
    // Without the caller's signal: the index is every tenant's, and missed by all.
    const build = async (details: object, cause?: unknown): Promise<void> => {
      if (!dropped) return;
      await this.buildIndex(name, { timeout: indexTimeout }).catch((error: unknown) => {
        throw missingIndex(error, name, details, cause);
      });
    };
    return this.during('load', async () => {
      let report: UpsertReport;
      try {
        report = await this.writeAll('load', name, records, rest, write, dropIndex);
      } catch (error) {
        await build({}, error);
        throw error;
      }
      await build({ written: report.written, failed: report.failed });
      return report;
    });
  }

  /** Checks records as `upsert` does, and writes none. @throws as `upsert` */
  async check<M = Metadata>(
    name: string,
    records: readonly VectorRecord<M>[],
    options?: NamespaceOptions,
  ): Promise<void> {
    if (!Array.isArray(records)) throw invalid('records', records, 'an array of records');
    this.scope(options);
    await this.inCollection('check', name, options, ['namespace'], async (schema) => {
      encodeRecords(records, schema, this.encoding());
    });
  }

  /**
   * Builds the index of a collection if it is not there: after a load that was cut short before its end. Those who write go
   * on meanwhile. Nothing happens where the provider has no index to build. `timeout`: default an hour.
   */
  async buildIndex(name: string, options?: CallOptions): Promise<void> {
    const { provider } = this;
    checkCollectionName(name);
    checkOptions(options, []);
    if (provider.buildIndex === undefined) return;
    await this.inCollection('buildIndex', name, { timeout: HOUR, ...options }, [], (schema, context) =>
      provider.buildIndex!(schema, context),
    );
  }

  private async writeAll<M>(
    operation: string,
    name: string,
    records: Iterable<VectorRecord<M>> | AsyncIterable<VectorRecord<M>>,
    options: UpsertOptions | undefined,
    write: VectorProvider['upsert'],
    before?: (schema: VectorSchema) => Promise<void>,
  ): Promise<UpsertReport> {
    const onProgress: unknown = options?.onProgress;
    if (onProgress !== undefined && typeof onProgress !== 'function')
      throw invalid('onProgress', onProgress, 'a function');
    checkSource(records, 'records', 'an array, an iterable or an async iterable of records');
    const scope = this.scope(options);
    const { maxBatch } = this.capabilities;
    const encoding = this.encoding();
    checkCollectionName(name);
    // What can be checked is, before anything is done. By a declaration that is remembered a whole stream may be refused.
    const { schema, encoded } = Array.isArray(records)
      ? await this.inCollection(operation, name, options, ['onProgress'], async (known) => ({
          schema: known,
          encoded: encodeRecords(records, known, encoding),
        }))
      : {
          schema: await this.run(operation, options, (context) => askSchema(this.source, name, context), name),
          encoded: undefined,
        };
    await before?.(schema);
    const target: UpsertTarget = {
      clock: this.clock,
      operation,
      bounds: () => boundsNow(this.begin, operation, options),
      maxBatch: Math.min(maxBatch, LIMITS.batchItems),
      onProgress: options?.onProgress,
      write: (batch) =>
        this.run(
          operation,
          options,
          (context) =>
            withSchema(this.source, name, context, async (latest) => {
              if (!sameSchema(latest, schema)) throw madeAnew(this.provider, name);
              return write(latest, scope, batch, context);
            }),
          name,
        ),
    };
    return encoded === undefined
      ? upsertSource(records, (input, at) => encodeRecord(input, schema, encoding, at), target)
      : upsertEncoded(encoded, target);
  }

  private encoding(): Parameters<typeof encodeRecord>[2] {
    return {
      maxMetadataBytes: Math.min(this.capabilities.maxMetadataBytes, LIMITS.metadataBytes),
      vectorFault: this.provider.vectorFault?.bind(this.provider),
      recordFault: this.provider.recordFault?.bind(this.provider),
      slab: new VectorSlab(),
    };
  }
}

/** @param cause what ended the load before; absent: its records are written. */
function missingIndex(error: unknown, name: string, details: object, cause: unknown = error): unknown {
  if (!isStorageError(error)) return error;
  return reworded(error, `The index of the collection ${name} is missing, call buildIndex: ${error.message}`, {
    ...{ operation: 'load', cause },
    details: { ...error.details, collection: name, ...details },
  });
}
