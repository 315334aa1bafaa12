/** Taking in the lines of an export: each batch is of one conversation, and atomic. */
import type { CollectionDefinition } from '../../collection/definition.js';
import type { StoredRecord } from '../../collection/record-codec.js';
import { ConflictError, invalid, isStorageError, type StorageError } from '../../errors.js';
import { instant, integer, json, jsonObject, optional, text, uuid, type Reader } from '../arguments.js';
import { defined } from '../defined.js';
import type { Unit } from '../unit.js';
import { beginAfter, ENDED, teller } from './ended.js';
import {
  CONVERSATIONS,
  MESSAGES,
  outward,
  REVISIONS,
  SESSIONS,
  USERS,
  type ConversationValue,
  type MessageValue,
} from './records.js';

export type ImportMode = 'skip' | 'replace' | 'fail';

export interface ImportReport {
  /** By kind: user, session, conversation, message, revision. */
  readonly written: Readonly<Record<string, number>>;
  readonly replaced: Readonly<Record<string, number>>;
  readonly skipped: Readonly<Record<string, number>>;
  /** Messages whose place was another's by then: they stand at the end. */
  readonly moved: number;
  readonly rejected: number;
  /** The first 100 of what was rejected; lines count from 1. */
  readonly rejections: readonly { readonly line: number; readonly error: string }[];
  /** With `remapIds`: of every conversation, its id by the one that it had. */
  readonly conversationIds?: Readonly<Record<string, string>>;
}

export interface Line {
  readonly kind: string;
  readonly [member: string]: unknown;
}

interface Item {
  readonly kind: string;
  readonly line: number;
  readonly id: string;
  readonly createdAt: Date;
  readonly expiresAt?: Date | undefined;
  readonly value: Record<string, unknown>;
}

const KINDS: Readonly<Record<string, CollectionDefinition<never>>> = {
  user: USERS as never,
  session: SESSIONS as never,
  conversation: CONVERSATIONS as never,
  message: MESSAGES as never,
  revision: REVISIONS as never,
};
const COUNT = integer(0, Number.MAX_SAFE_INTEGER);
const STATE = { content: json, metadata: jsonObject, extra: jsonObject, messageType: text(128), status: text(128) };
/** What a record of each kind has to have. */
const REQUIRED: Readonly<Record<string, Readonly<Record<string, Reader<unknown>>>>> = {
  user: { metadata: jsonObject },
  session: { metadata: jsonObject },
  conversation: { metadata: jsonObject, messageCount: COUNT, lastSeq: COUNT, activeAt: instant },
  message: {
    ...STATE,
    conversationId: uuid,
    seq: integer(1, Number.MAX_SAFE_INTEGER),
    role: text(128),
    revisions: COUNT,
  },
  revision: {
    ...STATE,
    conversationId: uuid,
    messageId: uuid,
    revision: integer(1, Number.MAX_SAFE_INTEGER),
    editedAt: instant,
  },
};
/** Records of one batch. */
const BATCH = 200;
/** Bytes of the texts of one batch, well below what a batch may have. */
const BATCH_BYTES = 2_000_000;
const REJECTIONS = 100;

export class ConversationImport {
  records = 0;
  private readonly counts = { written: {}, replaced: {}, skipped: {} } as Record<
    'written' | 'replaced' | 'skipped',
    Record<string, number>
  >;
  private moved = 0;
  private rejected = 0;
  private readonly rejections: { line: number; error: string }[] = [];
  private batch: Item[] = [];
  private bytes = 0;
  private owner: string | undefined;
  /** Those that came: in a dry run they are not there when their messages come. */
  private readonly conversations = new Set<string>();

  constructor(
    readonly decide: <R>(
      conversation: string | undefined,
      plan: (unit: Unit, found: StoredRecord<ConversationValue> | undefined) => Promise<R>,
    ) => Promise<R>,
    private readonly mode: ImportMode,
    private readonly dryRun: boolean,
  ) {}

  async add(line: Line | undefined, number: number): Promise<void> {
    this.records++;
    const item = this.read(line, number);
    if (item === undefined) return;
    const owner = item.kind === 'conversation' ? item.id : (item.value['conversationId'] as string | undefined);
    const bytes = JSON.stringify(item.value).length;
    if (owner !== this.owner || this.batch.length === BATCH || this.bytes + bytes > BATCH_BYTES) await this.flush();
    this.owner = owner;
    this.batch.push(item);
    this.bytes += bytes;
  }

  async flush(): Promise<void> {
    const { batch, owner } = this;
    this.batch = [];
    this.bytes = 0;
    if (batch.length === 0) return;
    try {
      await this.write(batch, owner);
    } catch (error) {
      if (!isStorageError(error) || !['VALIDATION', 'ALREADY_EXISTS', 'NOT_FOUND'].includes(error.code)) throw error;
      if (this.mode === 'fail' && error.code === 'ALREADY_EXISTS') throw error;
      // One by one, so that what cannot be taken keeps nothing else out.
      if (batch.length > 1) for (const item of batch) await this.alone(item, owner);
      else this.reject(batch[0]!.line, error);
    }
  }

  report(): ImportReport {
    const { counts, moved, rejected, rejections } = this;
    return { ...counts, moved, rejected, rejections };
  }

  private async alone(item: Item, owner: string | undefined): Promise<void> {
    this.batch = [item];
    this.owner = owner;
    await this.flush();
  }

  private read(line: Line | undefined, number: number): Item | undefined {
    try {
      if (line === undefined || KINDS[line.kind] === undefined) throw new Error('not a record of an export');
      const id = uuid(line['id'], 'id');
      const createdAt = instant(line['createdAt'], 'createdAt');
      const expiresAt = optional(instant)(line['expiresAt'], 'expiresAt');
      const value = { ...jsonObject(line['value'], 'value') } as Record<string, unknown>;
      for (const date of KINDS[line.kind]!.dates as readonly string[])
        if (value[date] !== undefined) value[date] = instant(value[date], `value.${date}`);
      for (const [name, reader] of Object.entries(REQUIRED[line.kind]!))
        value[name] = reader(value[name], `value.${name}`);
      if (line.kind === 'conversation') this.conversations.add(id);
      return { kind: line.kind, line: number, id, createdAt, expiresAt, value };
    } catch (error) {
      this.reject(number, error as Error);
      return undefined;
    }
  }

  private async write(batch: readonly Item[], owner: string | undefined): Promise<void> {
    const outcome = await this.decide(owner, async (unit, found) => {
      const plan = new BatchPlan(this.mode, this.dryRun && this.conversations.has(owner ?? ''));
      await plan.make(unit, batch, found);
      if (this.dryRun) throw new DryRun(plan);
      return plan;
    }).catch((error: unknown) => {
      if (error instanceof DryRun) return error.plan;
      throw error;
    });
    for (const [outcomeOf, kind] of outcome.outcomes)
      this.counts[outcomeOf][kind] = (this.counts[outcomeOf][kind] ?? 0) + 1;
    this.moved += outcome.moved;
  }

  private reject(line: number, error: StorageError | Error): void {
    this.rejected++;
    if (this.rejections.length < REJECTIONS) this.rejections.push({ line, error: error.message });
  }
}

/** Ends a decision before it is written. */
class DryRun extends Error {
  constructor(readonly plan: BatchPlan) {
    super('A dry run');
  }
}

/** What one batch does. */
class BatchPlan {
  readonly outcomes: (readonly ['written' | 'replaced' | 'skipped', string])[] = [];
  moved = 0;

  constructor(
    private readonly mode: ImportMode,
    /** Whether the conversation would be there by now. */
    private readonly isPromised: boolean,
  ) {}

  async make(unit: Unit, batch: readonly Item[], owner: StoredRecord<ConversationValue> | undefined): Promise<void> {
    const known = await this.known(unit, batch);
    const seqs = batch.filter(({ kind }) => kind === 'message').map(({ value }) => value['seq'] as number);
    const conversationId = batch.find(({ kind }) => kind === 'message')?.value['conversationId'] as string | undefined;
    const taken = new Map(
      conversationId === undefined
        ? []
        : (await unit.query(MESSAGES, { conversationId, seq: { $in: seqs } })).map(({ id, value }) => [value.seq, id]),
    );
    let conversation = owner?.value;
    let last = Math.max(owner?.value.lastSeq ?? 0, ...seqs.filter(Number.isSafeInteger));
    let live = 0;
    let isNew: Item | undefined;
    for (const item of batch) {
      const found = known.get(item.id);
      if (item.kind === 'conversation') {
        const before = this.outcome(item, owner);
        if (before === 'skipped') continue;
        const value = item.value as unknown as ConversationValue;
        // Counted as its messages come in.
        const counted = {
          messageCount: owner?.value.messageCount ?? 0,
          lastSeq: Math.max(owner?.value.lastSeq ?? 0, value.lastSeq),
        };
        conversation = { ...outward(value), tenant: unit.tenant, ...counted };
        isNew = owner === undefined ? item : undefined;
        continue;
      }
      const outcome = this.outcome(item, found);
      if (outcome === 'skipped') continue;
      let { value } = item;
      if (item.kind === 'message') {
        const holder = taken.get(value['seq'] as number);
        if (holder !== undefined && holder !== item.id) {
          value = { ...value, seq: ++last };
          this.moved++;
        }
        const was = found === undefined || (found.value as MessageValue).deletedAt !== undefined ? 0 : 1;
        live += (value['deletedAt'] === undefined ? 1 : 0) - was;
      }
      put(unit, KINDS[item.kind]!, { ...item, value }, found);
    }
    const belongs = batch.some(({ kind }) => kind === 'message' || kind === 'revision');
    if (conversation === undefined && belongs && !this.isPromised)
      throw invalid('value.conversationId', conversationId, 'a conversation that is there, or came before');
    if (conversation === undefined || (conversation === owner?.value && live === 0 && last === owner.value.lastSeq))
      return;
    const next = {
      ...conversation,
      messageCount: conversation.messageCount + live,
      lastSeq: Math.max(last, conversation.lastSeq),
    };
    if (owner !== undefined) {
      const { embedded, formerVersion } = owner.value;
      const left = unit.replace(CONVERSATIONS, owner, { ...next, ...defined({ embedded, formerVersion }) });
      unit.event(teller(left), 'updated', { changed: ['import'] });
    } else if (isNew !== undefined) {
      const before = beginAfter(unit, await unit.find(ENDED, isNew.id));
      const lastSeq = Math.max(next.lastSeq, before.lastSeq);
      const made = unit.insert(CONVERSATIONS, { ...next, ...before, lastSeq }, isNew);
      unit.event(teller(made), 'created', defined({ title: next.title }));
    }
  }

  private async known(unit: Unit, batch: readonly Item[]): Promise<Map<string, StoredRecord<unknown>>> {
    const known = new Map<string, StoredRecord<unknown>>();
    for (const [kind, definition] of Object.entries(KINDS)) {
      if (kind === 'conversation') continue;
      const ids = [...new Set(batch.filter((item) => item.kind === kind).map(({ id }) => id))];
      for (const record of await unit.findMany(definition, ids)) if (record !== undefined) known.set(record.id, record);
    }
    return known;
  }

  private outcome({ kind, id }: Item, found: StoredRecord<unknown> | undefined): 'written' | 'replaced' | 'skipped' {
    if (found !== undefined && this.mode === 'fail')
      throw new ConflictError('ALREADY_EXISTS', `${kind} ${JSON.stringify(id)} is there already`, {
        details: { existingId: id },
      });
    const outcome = found === undefined ? 'written' : this.mode === 'replace' ? 'replaced' : 'skipped';
    this.outcomes.push([outcome, kind]);
    return outcome;
  }
}

function put(
  unit: Unit,
  definition: CollectionDefinition<never>,
  { id, createdAt, expiresAt, value }: Item,
  found: StoredRecord<unknown> | undefined,
): void {
  if (found === undefined) unit.insert(definition, value as never, { id, createdAt, expiresAt });
  else unit.replace(definition, found as StoredRecord<never>, value as never, expiresAt ?? null);
}
