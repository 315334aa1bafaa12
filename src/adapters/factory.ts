/** The domain stores of a handle, each made when it is first asked for. */
import { Handle } from '../handle.js';
import { AgentStore } from './agents.js';
import { ConversationStore } from './conversations.js';
import { JobStore } from './jobs.js';
import { KeyValueStore } from './kv.js';
import type { StoreName } from './settings.js';
import type { StoreHost } from './host.js';
import { Store } from './store.js';
import { TaskStore } from './tasks.js';

/** Every store by its name. */
export const STORES = {
  agents: AgentStore,
  conversations: ConversationStore,
  jobs: JobStore,
  kv: KeyValueStore,
  tasks: TaskStore,
} as const satisfies { readonly [name in StoreName]: new (host: StoreHost) => Store };

export abstract class StoreFactory extends Handle {
  /** Those of one opening. */
  private readonly made = new Map<StoreName, Store>();
  private madeOf: object | undefined;

  /** One opening of the manager: its stores end with it. */
  protected abstract parts(): object;
  protected abstract storeHost(name: StoreName): StoreHost;

  /** What agents know, under an agent's id and a key. */
  get agents(): AgentStore {
    return this.store('agents');
  }

  /** Conversations: messages in their order, with what happened to them, users and sessions. */
  get conversations(): ConversationStore {
    return this.store('conversations');
  }

  /** Named jobs, their schedules, and runs that workers claim under leases. */
  get jobs(): JobStore {
    return this.store('jobs');
  }

  /** Values under namespaces and keys, with TTLs, quotas and counters. */
  get kv(): KeyValueStore {
    return this.store('kv');
  }

  /** Tasks with their statuses, what they wait for, who is asked to do them, and what happened to them. */
  get tasks(): TaskStore {
    return this.store('tasks');
  }

  private store<N extends StoreName>(name: N): InstanceType<(typeof STORES)[N]> {
    const opening = this.parts();
    if (this.madeOf !== opening) this.made.clear();
    this.madeOf = opening;
    let store = this.made.get(name);
    if (store === undefined) {
      const host = this.storeHost(name);
      store = new STORES[name](host);
      // In a transaction, whose run is over where they are not known to be there.
      host.requireTables(Store.schemasOf(store));
      this.made.set(name, store);
    }
    return store as InstanceType<(typeof STORES)[N]>;
  }
}
