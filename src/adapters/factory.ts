/** The domain stores of a handle, each made when it is first asked for. */
import { Handle } from '../handle.js';
import { JobStore } from './jobs.js';
import { KeyValueStore } from './kv.js';
import type { StoreName } from './settings.js';
import type { Store, StoreHost } from './store.js';

export abstract class StoreFactory extends Handle {
  private readonly made = new WeakMap<object, Map<StoreName, Store>>();

  /** One opening of the manager: its stores end with it. */
  protected abstract parts(): object;
  protected abstract storeHost(name: StoreName): StoreHost;

  /** Named jobs, their schedules, and runs that workers claim under leases. */
  get jobs(): JobStore {
    return this.store('jobs', JobStore);
  }

  /** Values under namespaces and keys, with TTLs, quotas and counters. */
  get kv(): KeyValueStore {
    return this.store('kv', KeyValueStore);
  }

  private store<S extends Store>(name: StoreName, Kind: new (host: StoreHost) => S): S {
    const opening = this.parts();
    let stores = this.made.get(opening);
    if (stores === undefined) this.made.set(opening, (stores = new Map<StoreName, Store>()));
    let store = stores.get(name);
    if (store === undefined) stores.set(name, (store = new Kind(this.storeHost(name))));
    return store as S;
  }
}
