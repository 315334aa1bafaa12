/** What one batch of an import does: records of one conversation, each once, and the conversation as they leave it. */
import type { CollectionDefinition } from '../../collection/definition.js';
import type { StoredRecord } from '../../collection/record-codec.js';
import { ConflictError, invalid } from '../../errors.js';
import { defined } from '../defined.js';
import type { Unit } from '../unit.js';
import { claimBeginning, teller } from './ended.js';
import { keyOf, type Item } from './import-item.js';
import { withoutStrangers } from './import-people.js';
import { foreignRevisions } from './import-revisions.js';
import {
  CONVERSATIONS,
  MESSAGES,
  outward,
  OWN,
  REVISIONS,
  SESSIONS,
  USERS,
  type ConversationValue,
  type MessageValue,
} from './records.js';

export type ImportMode = 'skip' | 'replace' | 'fail';

export const KINDS: Readonly<Record<string, CollectionDefinition<never>>> = {
  user: USERS as never,
  session: SESSIONS as never,
  conversation: CONVERSATIONS as never,
  message: MESSAGES as never,
  revision: REVISIONS as never,
};

/** What the batches of an import before this one have left. */
export interface ImportState {
  readonly mode: ImportMode;
  /** Whether the conversation would be there by now. */
  readonly isPromised: boolean;
  /** Whether its messages go to the end, since one before them had to. */
  readonly isMoving: boolean;
  /** The last message that this import wrote: all its revisions come with it. */
  readonly written: string | undefined;
}

export class BatchPlan {
  readonly outcomes: (readonly ['written' | 'replaced' | 'skipped', string])[] = [];
  moved = 0;
  /** What is to be written of users, sessions, messages and revisions. */
  readonly puts: Item[] = [];
  isMoving: boolean;
  written: string | undefined;
  private live = 0;
  private last = 0;
  private latest: Date | undefined;

  constructor(private readonly state: ImportState) {
    this.isMoving = state.isMoving;
    this.written = state.written;
  }

  async make(unit: Unit, batch: readonly Item[], owner: StoredRecord<ConversationValue> | undefined): Promise<void> {
    const [known, taken] = [await this.known(unit, batch), await takenPlaces(unit, batch)];
    const foreign = this.state.mode === 'skip' ? await foreignRevisions(unit, this.late(batch, known)) : undefined;
    let conversation = owner?.value;
    let isNew: Item | undefined;
    this.last = owner?.value.lastSeq ?? 0;
    for (const item of await withoutStrangers(unit, batch)) {
      const found = known.get(keyOf(item));
      if (item.kind === 'conversation') {
        if (this.outcome(item, owner !== undefined) === 'skipped') continue;
        const value = item.value as unknown as ConversationValue;
        this.last = Math.max(this.last, value.lastSeq);
        // Counted as its messages come in.
        const counted = { messageCount: owner?.value.messageCount ?? 0, lastSeq: this.last };
        const times = defined({
          lastMessageAt: later(owner?.value.lastMessageAt, value.lastMessageAt),
          activeAt: later(owner?.value.activeAt, value.activeAt),
        });
        conversation = { ...outward(value), tenant: unit.tenant, ...counted, ...times };
        isNew = owner === undefined ? item : undefined;
        continue;
      }
      const outcome = this.outcome(item, foreign?.has(item.id) === true || found !== undefined);
      const before = found?.value as MessageValue | undefined;
      const isOthers = before !== undefined && before.conversationId !== item.value['conversationId'];
      // What stands elsewhere was moved by an import before this one, which may have been cut short.
      if (before !== undefined && !isOthers && before.seq !== item.value['seq']) this.isMoving = true;
      if (outcome === 'skipped') continue;
      if (isOthers)
        throw invalid('value.conversationId', item.value['conversationId'], `that of the ${item.kind} that is there`);
      const value = item.kind === 'message' ? this.placed(item, before, taken) : item.value;
      put(unit, KINDS[item.kind]!, { ...item, value }, found);
      if (item.kind === 'message') this.written = item.id;
      this.puts.push(item);
    }
    const part = batch.find(({ kind }) => kind === 'message' || kind === 'revision');
    if (conversation === undefined && part !== undefined && !this.state.isPromised)
      throw invalid(
        'value.conversationId',
        part.value['conversationId'],
        'a conversation that is there, or came before',
      );
    if (conversation === undefined || (conversation === owner?.value && this.puts.length === 0)) return;
    // Also where no count changes: that it is written proves that it was not deleted meanwhile.
    await this.write(unit, conversation, owner, isNew);
  }

  /** A message at its place, or at the end; one that is there stays where it stands. */
  private placed(
    { id, createdAt, value }: Item,
    before: MessageValue | undefined,
    taken: Map<number, string>,
  ): Record<string, unknown> {
    const was = before === undefined || before.deletedAt !== undefined ? 0 : 1;
    this.live += (value['deletedAt'] === undefined ? 1 : 0) - was;
    this.latest = later(this.latest, createdAt);
    // Revisions that were made here stay: the next one has a number after theirs.
    if (before !== undefined)
      return { ...value, seq: before.seq, revisions: Math.max(before.revisions, value['revisions'] as number) };
    let seq = value['seq'] as number;
    this.isMoving ||= taken.has(seq);
    if (this.isMoving) {
      seq = this.last + 1;
      this.moved++;
    }
    this.last = Math.max(this.last, seq);
    taken.set(seq, id);
    return { ...value, seq };
  }

  private async write(
    unit: Unit,
    conversation: ConversationValue,
    owner: StoredRecord<ConversationValue> | undefined,
    isNew: Item | undefined,
  ): Promise<void> {
    const { messageCount, lastMessageAt, activeAt } = conversation;
    const next: ConversationValue = {
      ...conversation,
      messageCount: messageCount + this.live,
      lastSeq: this.last,
      ...(this.latest === undefined
        ? {}
        : { lastMessageAt: later(lastMessageAt, this.latest), activeAt: later(activeAt, this.latest) }),
    };
    if (owner !== undefined) {
      const { embedded, formerVersion } = owner.value;
      const left = unit.replace(CONVERSATIONS, owner, { ...next, ...defined({ embedded, formerVersion }) }, OWN);
      unit.event(teller(left), 'updated', { changed: ['import'] });
    } else if (isNew !== undefined) {
      const before = await claimBeginning(unit, isNew.id);
      const lastSeq = Math.max(next.lastSeq, before.lastSeq);
      const made = unit.insert(CONVERSATIONS, { ...next, ...before, lastSeq }, { ...isNew, ...OWN });
      unit.event(teller(made), 'created', defined({ title: next.title }));
    }
  }

  private async known(unit: Unit, batch: readonly Item[]): Promise<Map<string, StoredRecord<unknown>>> {
    const known = new Map<string, StoredRecord<unknown>>();
    for (const [kind, definition] of Object.entries(KINDS)) {
      if (kind === 'conversation') continue;
      const ids = [...new Set(batch.filter((item) => item.kind === kind).map(({ id }) => id))];
      for (const record of await unit.findMany(definition, ids))
        if (record !== undefined) known.set(keyOf({ kind, id: record.id }), record);
    }
    return known;
  }

  /** New revisions of messages that do not come with them. */
  private late(batch: readonly Item[], known: ReadonlyMap<string, unknown>): Item[] {
    const isNew = (item: Item): boolean => !known.has(keyOf(item));
    const messages = batch.filter((item) => item.kind === 'message' && isNew(item)).map(({ id }) => id);
    const written = new Set<unknown>([...messages, this.written]);
    return batch.filter((item) => item.kind === 'revision' && isNew(item) && !written.has(item.value['messageId']));
  }

  private outcome({ kind, id }: Item, isThere: boolean): 'written' | 'replaced' | 'skipped' {
    if (isThere && this.state.mode === 'fail')
      throw new ConflictError('ALREADY_EXISTS', `${kind} ${JSON.stringify(id)} is there already`, {
        details: { existingId: id },
      });
    const outcome = !isThere ? 'written' : this.state.mode === 'replace' ? 'replaced' : 'skipped';
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
  if (found === undefined) unit.insert(definition, value as never, { id, createdAt, expiresAt, ...OWN });
  else unit.replace(definition, found as StoredRecord<never>, value as never, { expiresAt: expiresAt ?? null, ...OWN });
}

/** Who has the places that the messages of a batch had. */
async function takenPlaces(unit: Unit, batch: readonly Item[]): Promise<Map<number, string>> {
  const messages = batch.filter(({ kind }) => kind === 'message').map(({ value }) => value as unknown as MessageValue);
  const conversationId = messages[0]?.conversationId;
  if (conversationId === undefined) return new Map();
  const seqs = messages.map(({ seq }) => seq);
  const found = await unit.query(MESSAGES, { conversationId, seq: { $in: seqs } });
  return new Map(found.map(({ id, value }) => [value.seq, id]));
}

function later<D extends Date | undefined>(one: Date | undefined, other: D): Date | D {
  return one !== undefined && (other === undefined || one > other) ? one : other;
}
