/** What only a manager can: its durable subscriptions to what the stores tell. */
import {
  subscribe,
  unsubscribe,
  type EventHandler,
  type SubscribeOptions,
  type Subscription,
  type SubscriptionsHost,
} from './adapters/subscriptions.js';
import type { StoreEvents } from './adapters/types.js';
import { LIBRARY } from './collection/library.js';
import type { CallOptions } from './component.js';
import { checkKnown } from './errors.js';
import { Storage } from './storage.js';
import { DELIVERY_OPTIONS } from './unit-of-work/relay/options.js';

const OPTIONS: ReadonlySet<string> = new Set(['types', 'stores', ...DELIVERY_OPTIONS]);

export abstract class SubscribableStorage extends Storage {
  /**
   * Gives the events of every tenant's stores to `handler`, at least once, those of an aggregate in their order: of all
   * transactions that begin after it was there first, whatever process they are of. Processes that subscribe under one name
   * share its events; while there is none they wait. Each name gets every event. Of `types` and `stores` the latest call's
   * stand; `handler` gets none that this call did not ask for. Where it rejects nothing is left for a name that was not there.
   * @throws `CONFIGURATION` without the setting `events.outbox`; `VALIDATION`; `UNSUPPORTED` where a store's database has no
   * transactions; `QUOTA_EXCEEDED` beyond 1,000 names on a database
   */
  async subscribe<T extends keyof StoreEvents = keyof StoreEvents>(
    name: string,
    handler: EventHandler<T>,
    options: SubscribeOptions<T> = {},
  ): Promise<Subscription> {
    const host = this.subscriptionsHost();
    checkKnown(options, OPTIONS);
    return subscribe(host, name, handler, options);
  }

  /**
   * Ends a subscription for every process, and deletes what waits for it. What transactions leave that began before is
   * deleted by calling it again; so is what waits on a database that cannot be reached, for which it rejects when it is ended
   * on the others. @throws as `subscribe`
   */
  async unsubscribe(name: string, options: CallOptions = {}): Promise<void> {
    return unsubscribe(this.subscriptionsHost(), name, options);
  }

  private subscriptionsHost(): SubscriptionsHost {
    const parts = this.parts();
    return {
      settings: parts.storeSettings,
      of: (store) => this.storeHost(store, LIBRARY.tenant),
      beginLoop: parts.beginLoop,
      report: (error) => parts.report(error),
    };
  }
}
