/** Lanes that are empty at the same time end in one write; each of them could end by itself. */
import type { TenantScope, Write } from '../../backends/backend.js';
import { groupBy } from '../../collection/group-by.js';
import { runOperation, type CollectionHost } from '../../collection/host.js';
import type { OperationContext } from '../../component.js';
import { OUTBOX_TABLES } from '../outbox/records.js';

/** What ends one lane. */
interface Ending {
  readonly scope: TenantScope;
  /** As many for every context. */
  readonly items: number;
  /** Milliseconds that the server took for an answer. */
  readonly answerTime: number;
  readonly writes: (context: OperationContext) => readonly Write[];
  readonly settle: (isDone: boolean) => void;
}

/** Of all lanes that end together; one that needs more ends by itself. */
const MOST_ITEMS = 500;

/**
 * Milliseconds after which each ends by itself, or five answers of the server, where these take longer: what is cut off costs a
 * connection. A transaction that adds a message under one of their keys holds that key until it ends, and whoever waits for it
 * holds up the others.
 */
const PATIENCE = 50;
const PATIENT_ANSWERS = 5;
const MOST_PATIENCE = 1_000;

/** The most groups, as a power of two, that end singly after refusals in a row. */
const MOST_REFUSALS = 7;

export class Endings {
  private waiting: Ending[] = [];
  /** Groups in a row that were refused, and how many from now on are not tried. */
  private refusals = 0;
  private untried = 0;

  constructor(private readonly host: CollectionHost) {}

  /** @returns whether the lane has ended. If not, nothing was written, or it is not known: it has to end by itself. */
  end(scope: TenantScope, items: number, answerTime: number, writes: Ending['writes']): Promise<boolean> {
    return new Promise((settle) => {
      // Once all that is ready now has come.
      if (this.waiting.length === 0) setImmediate(() => this.endAll());
      this.waiting.push({ scope, items, answerTime, writes, settle });
    });
  }

  private endAll(): void {
    const tenants = groupBy(this.waiting.splice(0), ({ scope }) => scope.tenant);
    for (const endings of tenants.values()) {
      let together: Ending[] = [];
      let items = 0;
      for (const ending of endings) {
        if (items + ending.items > MOST_ITEMS) {
          void this.endTogether(together);
          together = [];
          items = 0;
        }
        together.push(ending);
        items += ending.items;
      }
      void this.endTogether(together);
    }
  }

  private async endTogether(endings: readonly Ending[]): Promise<void> {
    const isDone = endings.length > 1 && (await this.attempt(endings));
    for (const { settle } of endings) settle(isDone);
  }

  private async attempt(endings: readonly Ending[]): Promise<boolean> {
    if (this.untried > 0) {
      this.untried--;
      return false;
    }
    const isDone = await this.write(endings);
    this.refusals = isDone ? 0 : Math.min(this.refusals + 1, MOST_REFUSALS);
    if (!isDone) this.untried = 2 ** this.refusals;
    return isDone;
  }

  private async write(endings: readonly Ending[]): Promise<boolean> {
    const slowest = Math.max(...endings.map(({ answerTime }) => answerTime));
    const timeout = Math.min(Math.max(PATIENCE, PATIENT_ANSWERS * slowest), MOST_PATIENCE);
    try {
      const results = await runOperation(this.host, OUTBOX_TABLES, 'relay', { timeout }, (context) => {
        const all = endings.flatMap(({ writes }) => writes(context));
        return this.host.backend.write(endings[0]!.scope, all, context);
      });
      return results.every(({ status }) => status === 'deleted' || status === 'written');
    } catch {
      // Whoever ends by itself meets the same fault, and tells it.
      return false;
    }
  }
}
