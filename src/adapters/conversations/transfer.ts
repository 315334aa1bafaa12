/** Conversations as a stream of lines, out of one storage and into another; and how many there are. */
import { createHash, type Hash } from 'node:crypto';
import { types } from 'node:util';
import { aborted } from '../../clock.js';
import { boundsNow, eachStep, type CallOptions } from '../../component.js';
import { invalid } from '../../errors.js';
import { isPlainObject } from '../../filter/json.js';
import { itemsOf } from '../../loading/source.js';
import { choice, flag, list, optional, uuid, withDefault } from '../arguments.js';
import { ConversationImport, type ImportReport, type Line } from './import.js';
import type { ImportMode } from './import-batch.js';
import { optionsOf, READ_OPTIONS } from './input.js';
import { CONVERSATIONS, MESSAGES, outward, REVISIONS, SESSIONS, USERS } from './records.js';
import { RemappedImport, type NamedIds } from './remap-ids.js';
import { RetentionStore } from './retain.js';

export interface ConversationStatistics {
  readonly conversations: number;
  readonly archived: number;
  /** Deleted ones not counted. */
  readonly messages: number;
  readonly deletedMessages: number;
  readonly users: number;
  readonly sessions: number;
}

const EXPORT = optionsOf({ conversationIds: optional(list(uuid)) });
const IMPORT = optionsOf({
  mode: withDefault(choice(['skip', 'replace', 'fail']), 'skip'),
  dryRun: withDefault(flag, false),
  remapIds: withDefault(flag, false),
});
const FORMAT = 'quartermaster.conversations';

export abstract class TransferStore extends RetentionStore {
  /** How many there are of each. */
  async statistics(options: CallOptions = {}): Promise<ConversationStatistics> {
    const call = this.call(READ_OPTIONS(options, 'options'));
    const isThere = { $exists: true };
    const [conversations, archived, all, deletedMessages, users, sessions] = await Promise.all([
      this.records(CONVERSATIONS).count({}, call),
      this.records(CONVERSATIONS).count({ archivedAt: isThere }, call),
      this.records(MESSAGES).count({}, call),
      this.records(MESSAGES).count({ deletedAt: isThere }, call),
      this.records(USERS).count({}, call),
      this.records(SESSIONS).count({}, call),
    ]);
    return { conversations, archived, messages: all - deletedMessages, deletedMessages, users, sessions };
  }

  /**
   * Lines of JSON, each with its line end: a header, every user and session, each conversation with its messages and their
   * former states (archived and deleted ones too), and a footer with the SHA-256 of all before it. It is read page by page,
   * not as of one instant; events and vectors are not part of it.
   * @param options `conversationIds`: only these
   */
  async *exportConversations(
    options: CallOptions & { readonly conversationIds?: readonly string[] | undefined } = {},
  ): AsyncGenerator<string, void, undefined> {
    const { conversationIds, ...call } = EXPORT(options, 'options');
    const name = this.operationName('exportConversations');
    yield* eachStep(this.host.admit, name, () => this.exportLines(conversationIds, this.call(call)));
  }

  private async *exportLines(
    conversationIds: readonly string[] | undefined,
    call: CallOptions,
  ): AsyncGenerator<string, void, undefined> {
    const hash = createHash('sha256');
    let records = 0;
    const lineOf = (line: object): string => {
      const text = `${JSON.stringify(line)}\n`;
      hash.update(text);
      return text;
    };
    const { clock, tenant } = this.host;
    const counts = await this.statistics(call);
    yield lineOf({ kind: 'header', format: FORMAT, version: 1, exportedAt: clock.now(), tenantId: tenant, counts });
    for await (const line of this.linesOf(conversationIds, call)) {
      records++;
      yield lineOf(line);
    }
    yield `${JSON.stringify({ kind: 'footer', records, sha256: hash.digest('hex') })}\n`;
  }

  /**
   * Takes what `exportConversations` gave, in pieces of any size; ids, places and times stay as they are, versions begin anew.
   * What is there already stays (`skip`, so that an import that was cut short can be repeated), is replaced, or ends the
   * import (`fail`). Batches are atomic, the whole is not; with `dryRun` nothing is written. With `remapIds` it is a copy: all
   * get ids of their own, the same ones each time, so that this can be repeated too; users and sessions of names that are
   * there are taken for those. `timeout` bounds each step, and where it is given each wait for the source too.
   * @throws `VALIDATION` for another format, and at the end for a checksum that differs: `dryRun` finds out before.
   */
  async importConversations(
    source: Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>,
    options: CallOptions & {
      readonly mode?: ImportMode | undefined;
      readonly dryRun?: boolean | undefined;
      readonly remapIds?: boolean | undefined;
    } = {},
  ): Promise<ImportReport> {
    const { mode, dryRun, remapIds, ...call } = IMPORT(options, 'options');
    if (
      typeof source !== 'object' ||
      (source as unknown) === null ||
      // Its elements are numbers, one by one.
      ArrayBuffer.isView(source) ||
      !(Symbol.iterator in source || Symbol.asyncIterator in source)
    )
      throw invalid('source', source, 'an iterable or async iterable of texts or bytes');
    const { clock, begin } = this.host;
    const operation = this.operationName('importConversations');
    const host = { clock, operation, bounds: () => boundsNow(begin, operation, this.call(call)) };
    const { signal } = host.bounds();
    if (signal?.aborted === true) throw aborted(signal, operation);
    if (!dryRun) this.require('writes', 'importConversations');
    const decide: ConversationImport['decide'] = (id, plan) =>
      // Without its writes.
      dryRun
        ? this.read('importConversations', this.call(call), async (unit) =>
            plan(unit, id === undefined ? undefined : await unit.find(CONVERSATIONS, id)),
          )
        : id === undefined
          ? this.decide('importConversations', this.call(call), async (unit) => plan(unit, undefined))
          : this.decideOn('importConversations', id, this.call(call), async (unit, find) => ({
              result: await plan(unit, await find()),
            }));
    const taken = new ConversationImport(decide, mode, dryRun);
    const named: NamedIds = (definition, names) =>
      this.read('importConversations', this.call(call), (unit) =>
        unit.query(definition, { externalId: { $in: names } }, { limit: names.length }),
      );
    const work = remapIds ? new RemappedImport(taken, this.host.tenant, named) : taken;
    return this.steps('importConversations', () => importLines(linesIn(itemsOf(source, host)), taken, work));
  }

  private async *linesOf(
    conversationIds: readonly string[] | undefined,
    call: CallOptions,
  ): AsyncGenerator<object, void, undefined> {
    for await (const { id, createdAt, value } of this.records(USERS).each({}, call))
      yield { kind: 'user', id, createdAt, value };
    for await (const { id, createdAt, expiresAt, value } of this.records(SESSIONS).each({}, call))
      yield { kind: 'session', id, createdAt, ...(expiresAt === undefined ? {} : { expiresAt }), value };
    const filter = conversationIds === undefined ? {} : { id: { $in: conversationIds } };
    const listing = { ...call, sort: { createdAt: 'asc' } } as const;
    for await (const { id, createdAt, value } of this.records(CONVERSATIONS).each(filter, listing)) {
      yield { kind: 'conversation', id, createdAt, value: outward(value) };
      const bySeq = { ...call, sort: { conversationId: 'asc', seq: 'asc' } } as const;
      for await (const message of this.records(MESSAGES).each({ conversationId: id }, bySeq)) {
        yield { kind: 'message', id: message.id, createdAt: message.createdAt, value: message.value };
        if (message.value.revisions === 0) continue;
        const former = { ...call, sort: { messageId: 'asc', revision: 'asc' } } as const;
        for await (const revision of this.records(REVISIONS).each({ messageId: message.id }, former))
          yield { kind: 'revision', id: revision.id, createdAt: revision.createdAt, value: revision.value };
      }
    }
  }
}

/** Takes the lines of an export in. @param taken counts them */
async function importLines(
  lines: AsyncIterable<string>,
  taken: ConversationImport,
  work: ConversationImport | RemappedImport,
): Promise<ImportReport> {
  const hash = createHash('sha256');
  let index = 0;
  let ended = false;
  for await (const text of lines) {
    if (ended) throw invalid(`source line ${index + 1}`, text, 'nothing after the footer');
    const line = parseLine(text, index);
    if (index === 0 && (line?.kind !== 'header' || line['format'] !== FORMAT || line['version'] !== 1))
      throw invalid('source line 1', text, `the header of ${FORMAT}, version 1`);
    if (line?.kind === 'footer') {
      await work.flush();
      checkFooter(line, taken.records, hash);
      ended = true;
    } else if (index > 0) await work.add(line, index + 1);
    if (!ended) hash.update(`${text}\n`);
    index++;
  }
  await work.flush();
  if (!ended) throw invalid('source', undefined, 'lines that end with a footer: the export was cut short');
  return work.report();
}

async function* linesIn(source: AsyncIterable<string | Uint8Array>): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let rest = '';
  const decode = (piece?: Uint8Array): string => {
    try {
      return decoder.decode(piece, { stream: piece !== undefined });
    } catch (error) {
      throw invalid('source', piece, 'bytes of UTF-8', { cause: error });
    }
  };
  for await (const piece of source) {
    if (typeof piece !== 'string' && !types.isUint8Array(piece))
      throw invalid('source', piece, 'pieces that are texts or bytes');
    rest += typeof piece === 'string' ? piece : decode(piece);
    const lines = rest.split('\n');
    rest = lines.pop()!;
    yield* lines;
  }
  rest += decode();
  if (rest !== '') yield rest;
}

/** `undefined` for what is no line of an export: it is rejected, not the whole. */
function parseLine(text: string, index: number): Line | undefined {
  try {
    const line: unknown = JSON.parse(text);
    return isPlainObject(line) && typeof line['kind'] === 'string' ? (line as unknown as Line) : undefined;
  } catch {
    if (index === 0) throw invalid('source line 1', text, 'a line of JSON');
    return undefined;
  }
}

function checkFooter(line: Line, records: number, hash: Hash): void {
  const sha256 = hash.digest('hex');
  if (line['sha256'] !== sha256 || line['records'] !== records)
    throw invalid('source', line['sha256'], `the checksum of ${records} records (they are not what was exported)`);
}
