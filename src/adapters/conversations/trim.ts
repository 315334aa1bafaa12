/** Keeping the newest messages of a conversation. */
import type { CallOptions } from '../../component.js';
import { invalid } from '../../errors.js';
import { integer, optional, text, uuid } from '../arguments.js';
import { optionsOf } from './input.js';
import { portionsOf } from './portions.js';
import { MESSAGES } from './records.js';
import { STEP } from './retain.js';
import type { Trigger } from './threads.js';
import { TransferStore } from './transfer.js';

export type TrimOptions = CallOptions &
  Trigger & {
    /** How many messages stay. Default: the setting `conversations.historyLimit`, where that is not 0. */
    readonly keep?: number | undefined;
  };

const OPTIONS = optionsOf({
  keep: optional(integer(1, Number.MAX_SAFE_INTEGER)),
  triggeredById: optional(text(255)),
});

export abstract class TrimStore extends TransferStore {
  /**
   * Marks as deleted, with the reason `history`, all messages but the newest that are not deleted. At most 300 in a step,
   * fewer where they are large, each atomic: what was cut short goes on when it is called again. @param options `timeout`
   * bounds one step
   * @returns how many were marked. @throws `NOT_FOUND`, `VALIDATION`, `UNSUPPORTED`
   */
  async trimHistory(conversationId: string, options: TrimOptions = {}): Promise<number> {
    const key = uuid(conversationId, 'conversationId');
    const { keep: given, triggeredById, ...call } = OPTIONS(options, 'options');
    const keep = given ?? this.host.settings.conversations.historyLimit;
    if (keep === 0) throw invalid('options.keep', given, 'a whole number from 1: conversations.historyLimit is 0');
    return this.steps('trimHistory', () => this.trim(key, keep, triggeredById, call));
  }

  private async trim(key: string, keep: number, triggeredById: string | undefined, call: CallOptions): Promise<number> {
    // Those up to `past` are deleted already: no step reads them again, unless another has written since.
    let progress = { past: 0, version: 0, limit: STEP, isLast: false };
    for (let done = 0; ;) {
      const before = progress;
      const step = await this.decideOn<number>('trimHistory', key, this.call(call), async (unit, find) => {
        const owner = await find();
        if (owner === undefined) throw this.missing('conversation', key, 'trimHistory');
        const past = owner.version === before.version ? before.past : 0;
        const excess = owner.value.messageCount - keep;
        if (excess <= 0) return { result: 0, conversation: owner };
        const oldest = await unit.query(
          MESSAGES,
          { conversationId: key, seq: { $gt: past }, deletedAt: { $exists: false } },
          { sort: { conversationId: 'asc', seq: 'asc' }, limit: Math.min(excess, before.limit) },
        );
        const [portion] = portionsOf(oldest);
        if (portion === undefined) return { result: 0, conversation: owner };
        const { length } = portion;
        // Large ones are read again as few at a time as can be marked.
        const limit = length < oldest.length ? length : Math.min(2 * before.limit, STEP);
        const { seq } = portion.at(-1)!.value;
        progress = { past: seq, version: owner.version + 1, limit, isLast: length === excess };
        return this.markDeleted(unit, owner, portion, { reason: 'history' }, triggeredById);
      });
      done += step;
      if (step === 0 || progress.isLast) return done;
    }
  }
}
