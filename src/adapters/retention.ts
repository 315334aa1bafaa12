/** `storage.retention`: what is too old, or too much, of every tenant's conversations, tasks, jobs and agents. */
import { aborted } from '../clock.js';
import type { CallOptions } from '../component.js';
import { foreignErrorName, isStorageError, StorageError } from '../errors.js';
import { Handle } from '../handle.js';
import { flag, optional, shape, withDefault } from './arguments.js';
import { forwardAbort } from './forward-abort.js';
import { signal } from './options.js';
import { policyOf, readPolicies, type Policy, type RetentionPolicy } from './retention/policy.js';
import {
  isNone,
  RETAINED,
  sum,
  type RetainedStore,
  type RetainedStores,
  type RetentionCounts,
} from './retention/stores.js';
import { findTenants } from './retention/tenants.js';
import type { StoreSettings } from './settings.js';
import { Locks, type LockHost } from '../unit-of-work/locks.js';

export interface RetentionOptions extends Pick<CallOptions, 'signal'> {
  /** Only counts: changes nothing, and needs no lease. Default false. */
  readonly dryRun?: boolean | undefined;
  /** By tenant: the policy in place of the settings', whole: what it does not name is off. */
  readonly tenants?: Readonly<Record<string, RetentionPolicy>> | undefined;
}

export interface TenantRetentionReport<Counts> {
  readonly tenant: string;
  /** Absent when it failed: steps before that stand, and are not counted. */
  readonly counts?: Counts;
  readonly error?: StorageError;
}

export interface StoreRetentionReport<Counts> {
  /** `off`: no policy; `skipped`: another process is at it; `failed`: for some tenants, or as a whole (`error`). */
  readonly status: 'done' | 'off' | 'skipped' | 'failed';
  readonly total: Counts;
  /** Those of whom something was (would be) deleted, and those that failed. */
  readonly tenants: readonly TenantRetentionReport<Counts>[];
  readonly error?: StorageError;
}

export type RetentionReport = {
  readonly [Name in RetainedStore]: StoreRetentionReport<RetentionCounts[Name]>;
} & {
  readonly dryRun: boolean;
  readonly startedAt: Date;
  readonly finishedAt: Date;
};

/** What it stands on: the manager gives it. */
export interface RetentionHost {
  readonly settings: StoreSettings;
  /** The reserved tenant's, on the database of a store. */
  of(store: RetainedStore): LockHost;
  tenant(id: string): RetainedStores;
  onClosing(listener: () => void): () => void;
}

interface Run {
  readonly dryRun: boolean;
  readonly standard: Policy;
  readonly own: ReadonlyMap<string, Policy>;
  readonly signal: AbortSignal;
}

type StoreReports = { [Name in RetainedStore]?: StoreRetentionReport<RetentionCounts[Name]> };

const NO_POLICIES: Run['own'] = new Map();
const STORES = Object.keys(RETAINED) as readonly RetainedStore[];
const OPTIONS = shape({
  signal: optional(signal),
  dryRun: withDefault(flag, false),
  tenants: optional(readPolicies),
});
/** Of the reserved tenant: one run at a time works a database. It saves work, no more: the steps of two would each be whole. */
const LOCK = 'retention';
/** Milliseconds that a run counts as alive without a sign of it. */
const LEASE = 60_000;
/** What ends a store's run: it would be so for every tenant. */
const FOR_ALL: readonly unknown[] = ['CLOSED', 'UNAVAILABLE', 'UNSUPPORTED'] satisfies StorageError['code'][];

export class Retention extends Handle {
  constructor(private readonly host: RetentionHost) {
    super();
  }

  toJSON(): Record<string, unknown> {
    return {};
  }

  /**
   * Applies the policies of the settings' group `retention` to every tenant that has records in a store, one store and tenant
   * after another. A database is worked by one run at a time, of whatever process: others report `skipped`. What fails is told
   * in the report, and the rest goes on. It is made of steps that are atomic each: a run that is cut short is gone on with by
   * the next. @throws `VALIDATION` before any I/O; `ABORTED`; `CLOSED` when the manager is not open, or closes meanwhile.
   */
  async run(options: RetentionOptions = {}): Promise<RetentionReport> {
    const { dryRun, tenants: own = NO_POLICIES, signal } = OPTIONS(options, 'options');
    const standard = policyOf(this.host.settings);
    const stop = new AbortController();
    const run = { dryRun, standard, own, signal: stop.signal };
    const reports: StoreReports = {};
    const clock = this.host.of(STORES[0]!).clock;
    const startedAt = clock.now();
    const ends: (() => void)[] = [];
    try {
      const databases = this.byDatabase(run);
      // Admitted for as long as it runs, so that a close waits for its last step.
      for (const [host, names] of databases)
        try {
          ends.push(host.begin('retain', signal === undefined ? {} : { signal }).end);
        } catch (error) {
          // A database that is not there, and need not be, is no concern of the stores elsewhere.
          if (!isStorageError(error, 'UNAVAILABLE')) throw error;
          databases.delete(host);
          for (const name of names) reports[name] = ended(name, 'failed', error) as never;
        }
      ends.push(
        this.host.onClosing(() => stop.abort()),
        forwardAbort(signal, () => stop.abort()),
      );
      for (const [host, names] of databases) await this.runDatabase(host, names, run, reports);
    } finally {
      ends.forEach((end) => end());
    }
    if (signal?.aborted === true) throw aborted(signal, 'retain');
    if (stop.signal.aborted)
      throw new StorageError('CLOSED', 'The storage manager was closed while it ran', { operation: 'retain' });
    const reportOf = <Name extends RetainedStore>(name: Name): StoreRetentionReport<RetentionCounts[Name]> =>
      reports[name] ?? { status: 'off', total: RETAINED[name].none, tenants: [] };
    return {
      dryRun,
      startedAt,
      finishedAt: clock.now(),
      conversations: reportOf('conversations'),
      tasks: reportOf('tasks'),
      jobs: reportOf('jobs'),
      agents: reportOf('agents'),
    };
  }

  /** The stores that anybody has a policy for. Two names of one database are one. */
  private byDatabase({ standard, own }: Run): Map<LockHost, RetainedStore[]> {
    const databases = new Map<object, [LockHost, RetainedStore[]]>();
    const policies = [standard, ...own.values()];
    for (const name of STORES.filter((store) => policies.some((policy) => isOn(store, policy)))) {
      const host = this.host.of(name);
      const known = databases.get(host.backend.pool);
      if (known === undefined) databases.set(host.backend.pool, [host, [name]]);
      else known[1].push(name);
    }
    return new Map(databases.values());
  }

  private async runDatabase(
    host: LockHost,
    names: readonly RetainedStore[],
    run: Run,
    reports: StoreReports,
  ): Promise<void> {
    const each = async (own: Run): Promise<void> => {
      for (const name of names) if (!run.signal.aborted) await this.runStore(name, own, reports);
    };
    const end = (status: 'skipped' | 'failed', error?: StorageError): void => {
      for (const name of names) reports[name] = ended(name, status, error) as never;
    };
    if (run.dryRun) return each(run);
    if (run.signal.aborted) return;
    const work = new AbortController();
    try {
      await new Locks(host).withLock(LOCK, { ttl: LEASE }, async (lock) => {
        const unlink = forwardAbort(run.signal, () => work.abort());
        forwardAbort(lock.signal, () => work.abort());
        await each({ ...run, signal: work.signal }).finally(unlink);
      });
    } catch (error) {
      if (isStorageError(error, 'CONFLICT')) return end('skipped');
      if (!isStorageError(error, 'LEASE_LOST')) return end('failed', told(error));
      for (const name of names)
        if (reports[name]?.error?.code === 'ABORTED') reports[name] = { ...reports[name], error } as never;
    }
  }

  private async runStore<Name extends RetainedStore>(name: Name, run: Run, reports: StoreReports): Promise<void> {
    const store = RETAINED[name];
    const { dryRun, signal } = run;
    const tenants: TenantRetentionReport<RetentionCounts[Name]>[] = [];
    let total = store.none;
    let error: StorageError | undefined;
    try {
      for (const [tenant, policy] of await this.tenantsOf(name, run)) {
        try {
          const counts = await store.retain(this.host.tenant(tenant), policy, { dryRun, signal });
          total = sum(total, counts);
          if (!isNone(counts)) tenants.push({ tenant, counts });
        } catch (fault) {
          if (signal.aborted || (isStorageError(fault) && FOR_ALL.includes(fault.code))) throw fault;
          tenants.push({ tenant, error: told(fault) });
        }
      }
    } catch (fault) {
      error = told(fault);
    }
    const isFailed = error !== undefined || tenants.some((tenant) => tenant.error !== undefined);
    const status = isFailed ? 'failed' : 'done';
    reports[name] = { status, total, tenants, ...(error === undefined ? {} : { error }) } as StoreReports[Name];
  }

  /** Whose records are looked at, in the order of their names. Where only some have a policy, nobody is looked for. */
  private async tenantsOf(name: RetainedStore, { standard, own, signal }: Run): Promise<[string, Policy][]> {
    const found = isOn(name, standard)
      ? await findTenants(this.host.of(name), RETAINED[name].anchor, signal)
      : new Set(own.keys());
    return [...found]
      .sort()
      .map((tenant): [string, Policy] => [tenant, own.get(tenant) ?? standard])
      .filter(([, policy]) => isOn(name, policy));
  }
}

function isOn(name: RetainedStore, policy: Policy): boolean {
  return RETAINED[name].keys.some((key) => policy[key] > 0);
}

function ended(name: RetainedStore, status: 'skipped' | 'failed', error: StorageError | undefined): object {
  return { status, total: RETAINED[name].none, tenants: [], ...(error === undefined ? {} : { error }) };
}

function told(error: unknown): StorageError {
  if (isStorageError(error)) return error;
  return new StorageError('INTERNAL', `The retention failed (${foreignErrorName(error)})`, {
    operation: 'retain',
    cause: error,
  });
}
