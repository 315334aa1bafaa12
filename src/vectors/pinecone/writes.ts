/** Writes of records, and their deletion. */
import type { Index, PineconeRecord } from '@pinecone-database/pinecone';
import { isStorageError, UnavailableError } from '../../errors.js';
import type { CompiledFilter, StoredVector, VectorSelection } from '../provider.js';
import { all, cut } from './batches.js';
import type { Calls, Found, Target } from './calls.js';
import { saidBy } from './fault.js';
import { compileFilter } from './filter.js';
import type { Freshness, Write } from './freshness.js';
import { encodeId } from './names.js';
import type { Reads } from './reads.js';
import { encodeHead, encodeVectors, type RecordHead } from './record.js';

/** Of one request; 2 MB, less what surrounds the records. */
const UPSERT_LIMITS = { items: 1_000, bytes: 1_990_000 };
const DELETE_LIMITS = { items: 1_000, bytes: 1_000_000 };
const NO_INCLUDE = { vector: false, metadata: false, text: false };

export class Writes {
  constructor(
    private readonly calls: Calls,
    private readonly reads: Reads,
    private readonly freshness: Freshness,
  ) {}

  async upsert(target: Target, records: readonly StoredVector[]): Promise<{ token?: string }> {
    const { namespace } = target;
    const { component } = this.calls.connection;
    const heads = records.map((record) => encodeHead(record, component));
    const parts = cut(whole(heads, records), UPSERT_LIMITS, (record) => Buffer.byteLength(JSON.stringify(record)) + 1);
    const marks = await all(parts, (part) =>
      this.send(target, 'records', (index) => index.upsert({ records: part, namespace })),
    );
    const known = marks.filter((mark) => mark !== undefined);
    return known.length === 0 ? {} : { token: String(Math.max(...known)) };
  }

  async delete(target: Target, selection: VectorSelection): Promise<void> {
    const { namespace } = target;
    if ('all' in selection) await this.send(target, 'nothing', (index) => index.deleteAll({ namespace }));
    else if ('ids' in selection) await this.deleteIds(target, selection.ids);
    else await this.deleteMatching(target, selection.filter);
  }

  private async deleteIds(target: Target, given: readonly string[]): Promise<void> {
    const { namespace } = target;
    const { component } = this.calls.connection;
    const encoded = given.map((id) => encodeId(id, component));
    const parts = cut(encoded, DELETE_LIMITS, (id) => id.length);
    await all(parts, (ids) => this.send(target, 'unknown', (index) => index.deleteMany({ ids, namespace })));
  }

  private async deleteMatching(target: Target, filter: CompiledFilter): Promise<void> {
    const { namespace } = target;
    const compiled = compileFilter(filter.pushed);
    try {
      await this.send(target, 'unknown', (index) => index.deleteMany({ filter: compiled, namespace }));
    } catch (error) {
      // Not every kind of index takes a filter here.
      if (!isStorageError(error, 'VALIDATION') || !/not support/i.test(saidBy(error) ?? '')) throw error;
      const { context, operation } = target;
      await this.calls.connection.until(context, operation, 'Not all that matches was deleted in time', async () => {
        // Where nothing tells what a read has seen, it is looked at again until nothing is found.
        await this.reads.settleTarget(target).catch((refusal: unknown) => {
          if (!isStorageError(refusal, 'UNSUPPORTED')) throw refusal;
        });
        return (await this.deletePages(target, filter)) ? undefined : true;
      });
    }
  }

  /** Page by page to the last one. @returns whether there was anything. */
  private async deletePages(target: Target, filter: CompiledFilter): Promise<boolean> {
    let found = false;
    let after: string | undefined;
    do {
      const page = { filter, limit: UPSERT_LIMITS.items, include: NO_INCLUDE };
      const { items, next } = await this.reads.list(target, after === undefined ? page : { ...page, after });
      found ||= items.length > 0;
      await this.deleteIds(
        target,
        items.map(({ id }) => id),
      );
      after = next;
    } while (after !== undefined);
    return found;
  }

  /**
   * Sends a write, and again while the service does not have a namespace that must be there. Another one that is not there
   * has nothing to delete.
   * @returns the number of the write.
   * @throws `UNAVAILABLE` when the namespace is not there in time.
   */
  private async send(
    target: Target,
    leaves: Write['leaves'],
    work: (index: Index) => Promise<void>,
  ): Promise<number | undefined> {
    const { schema, namespace, operation, context } = target;
    const { connection } = this.calls;
    const began = this.freshness.begin();
    const message = 'The index does not have its namespaces yet';
    let isMissing = false;
    let attempts = 0;
    const ask = async (): Promise<Found<boolean> | undefined> => {
      const found = await this.calls.index(target, false, async (index, { number }) => {
        attempts = number;
        await work(index);
        return true;
      });
      // Gone by an earlier attempt, whose answer was lost: what comes next counts anew.
      if (!found.value && leaves === 'nothing' && attempts > 1) return { ...found, value: true, written: 0 };
      isMissing = !found.value && (leaves === 'records' || this.freshness.isThere(target, found.made));
      return isMissing ? undefined : found;
    };
    const sent = await connection.until(context, operation, message, ask).catch((cause: unknown) => {
      if (!isMissing || !isStorageError(cause, 'TIMEOUT')) throw cause;
      throw new UnavailableError(message, { component: connection.component, operation, cause });
    });
    const { value: isWritten, written: mark, made } = sent;
    if (isWritten) this.freshness.wrote({ schema, namespace, made, mark, began, leaves });
    return mark;
  }
}

function* whole(heads: readonly RecordHead[], records: readonly StoredVector[]): Generator<PineconeRecord> {
  for (const [i, head] of heads.entries()) yield { ...head, ...encodeVectors(records[i]!) };
}
