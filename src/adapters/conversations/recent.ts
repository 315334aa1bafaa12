/** What this process knows of the conversations it wrote last, and whose turn it is to write to one. */
import type { RecordBackend } from '../../backends/backend.js';
import type { StoredRecord } from '../../collection/record-codec.js';
import type { ConversationState, ConversationValue } from './records.js';

/** Conversations whose last state is kept: some 500 bytes each. */
const MOST = 2_000;

export class RecentConversations {
  /** The least recently written first. */
  private readonly records = new Map<string, StoredRecord<ConversationState>>();
  private readonly last = new Map<string, Promise<void>>();

  /** The record as this process left it, which another may have changed since. It is forgotten by being taken. */
  take(key: string): StoredRecord<ConversationState> | undefined {
    const record = this.records.get(key);
    this.records.delete(key);
    return record;
  }

  forget(key: string): void {
    this.records.delete(key);
  }

  keep(key: string, record: StoredRecord<ConversationState & Partial<ConversationValue>>): void {
    const { title: _title, metadata: _metadata, ...value } = record.value;
    this.records.set(key, { ...record, value });
    if (this.records.size > MOST) this.records.delete(this.records.keys().next().value!);
  }

  /**
   * Runs `work` when all that was asked for before on this key has ended: writers of one conversation would only make each
   * other's decisions void. @param wait bounds the waiting; it rejects when the caller waits no more
   * @param work gets what `wait` gave, where there was anything to wait for
   */
  async turn<W, R>(
    key: string,
    wait: (turn: Promise<void>) => Promise<W>,
    work: (waited: W | undefined) => Promise<R>,
  ): Promise<R> {
    const before = this.last.get(key);
    let end!: () => void;
    const mine = new Promise<void>((resolve) => (end = resolve));
    // Who gives up waiting must not let those behind pass those before.
    const tail = before === undefined ? mine : before.then(() => mine);
    this.last.set(key, tail);
    try {
      return await work(before === undefined ? undefined : await wait(before));
    } finally {
      end();
      void tail.then(() => {
        if (this.last.get(key) === tail) this.last.delete(key);
      });
    }
  }
}

const KNOWN = new WeakMap<RecordBackend, RecentConversations>();

/** One for all handles of an open database. */
export function recentConversations(backend: RecordBackend): RecentConversations {
  let recent = KNOWN.get(backend);
  if (recent === undefined) KNOWN.set(backend, (recent = new RecentConversations()));
  return recent;
}
