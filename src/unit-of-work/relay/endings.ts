/** Lanes that are empty at the same time end in one write; each of them could end by itself. */
import type { TenantScope, Write } from '../../backends/backend.js';
import { runOperation, type CollectionHost } from '../../collection/host.js';
import type { OperationContext } from '../../component.js';
import { OUTBOX_TABLES } from '../outbox/records.js';

/** What ends one lane. */
interface Ending {
  readonly scope: TenantScope;
  /** As many for every context. */
  readonly items: number;
  readonly writes: (context: OperationContext) => readonly Write[];
  readonly settle: (isDone: boolean) => void;
}

/** Of all lanes that end together; one that needs more ends by itself. */
const MOST_ITEMS = 500;

/**
 * Milliseconds that lanes wait for each other. A transaction that adds a message under one of their keys holds that key
 * until it ends: each of the others then ends by itself.
 */
const PATIENCE = 500;

export class Endings {
  private waiting: Ending[] = [];
  private isWriting = false;

  constructor(private readonly host: CollectionHost) {}

  /** @returns whether the lane has ended. If not, nothing was written, or it is not known: it has to end by itself. */
  end(scope: TenantScope, items: number, writes: Ending['writes']): Promise<boolean> {
    return new Promise((settle) => {
      this.waiting.push({ scope, items, writes, settle });
      if (this.isWriting) return;
      this.isWriting = true;
      // Once all that is ready now has come.
      setImmediate(() => void this.writeAll());
    });
  }

  private async writeAll(): Promise<void> {
    for (let first = this.waiting.shift(); first !== undefined; first = this.waiting.shift()) {
      const together = [first];
      let items = first.items;
      this.waiting = this.waiting.filter((other) => {
        const fits = other.scope.tenant === first.scope.tenant && items + other.items <= MOST_ITEMS;
        if (fits) {
          together.push(other);
          items += other.items;
        }
        return !fits;
      });
      const isDone = together.length > 1 && (await this.write(together));
      for (const { settle } of together) settle(isDone);
    }
    this.isWriting = false;
  }

  private async write(endings: readonly Ending[]): Promise<boolean> {
    try {
      const results = await runOperation(this.host, OUTBOX_TABLES, 'relay', { timeout: PATIENCE }, (context) => {
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
