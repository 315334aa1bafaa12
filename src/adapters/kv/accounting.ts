/** The quotas of one operation: what its entries grow by is added to the counters in the entries' own atomic unit. */
import type { RecordBackend } from '../../backends/backend.js';
import type { StorageError } from '../../errors.js';
import type { Unit } from '../unit.js';
import { bareUnit } from './bare-unit.js';
import { countUsage } from './count.js';
import { ENTRIES } from './entries.js';
import { deleteExpired } from './expired.js';
import {
  GLOBAL,
  namespaceCounter,
  quotaExceeded,
  TENANT_COUNTER,
  USAGE,
  type Quotas,
  type QuotaScope,
} from './usage.js';

/** What has expired is deleted in steps of so many when a quota has no more room. */
const STEP = 500;

interface Counter {
  readonly scope: QuotaScope;
  readonly id: string;
  readonly limit: number;
  readonly growth: number;
  /** Whose entries it counts. */
  readonly where: { readonly namespace?: string };
}

interface Used {
  readonly bytes: number;
  /** From the entries: there is no counter. */
  readonly counted: boolean;
}

export class Accounting {
  private tries = 0;
  /** What the counter of all tenants was given in this transaction. */
  private reserved = 0;

  constructor(
    private readonly backend: RecordBackend,
    private readonly tenant: string,
    private readonly quotas: Quotas,
    private readonly operation: string,
  ) {}

  /**
   * Adds the patches of the counters to the unit. At first nothing is read: a counter that is missing or has no room makes
   * the decision again, and then it is seen which. @throws `QUOTA_EXCEEDED`
   */
  async settle(unit: Unit, growth: ReadonlyMap<string, number>): Promise<void> {
    const { namespace, tenant, global } = this.quotas;
    const total = [...growth.values()].reduce((sum, bytes) => sum + bytes, 0);
    const counters: Counter[] = [
      ...[...growth].map(([name, bytes]): Counter => {
        const id = namespaceCounter(name);
        return { scope: 'namespace', id, limit: namespace, growth: bytes, where: { namespace: name } };
      }),
      { scope: 'tenant', id: TENANT_COUNTER, limit: tenant, growth: total, where: {} },
    ];
    const kept = counters.filter(({ limit, growth: bytes }) => limit > 0 && bytes !== 0);
    const careful = this.tries++ > 0;
    const known = careful ? await this.look(unit, kept) : undefined;
    for (const { id, limit, growth: bytes } of kept) {
      const used = known?.get(id);
      if (used?.counted === true) unit.insert(USAGE, { bytes: used.bytes + bytes }, { id });
      else unit.patch(USAGE, id, { increment: { bytes } }, bytes > 0 ? { if: { bytes: { $lte: limit - bytes } } } : {});
    }
    if (global > 0) await this.settleGlobal(unit, total, kept);
  }

  /** Gives back what the counter of all tenants was given for a decision that was not written. */
  async undo(unit: Unit): Promise<void> {
    if (this.reserved !== 0) await this.settleGlobal(unit, 0, []);
  }

  /** What each counter has, with room for what is to be added. @throws `QUOTA_EXCEEDED` */
  private async look(unit: Unit, counters: readonly Counter[]): Promise<ReadonlyMap<string, Used>> {
    const scope = { tenant: this.tenant };
    let emptied: string | undefined;
    for (;;) {
      const known = await this.readCounters(unit, counters);
      const full = counters.find((counter) => exceeds(counter, known.get(counter.id)!.bytes));
      if (full === undefined) return known;
      if (full.id === emptied) throw this.refusal(full, known.get(full.id)!.bytes);
      // What another writer was faster to delete has given its bytes back by now, too: it is seen in the counters again.
      const { found } = await deleteExpired(ENTRIES, this.backend, scope, full.where, unit.now, STEP, unit.context);
      if (found === 0) emptied = full.id;
    }
  }

  /** A counter that is missing begins with a count. */
  private async readCounters(unit: Unit, counters: readonly Counter[]): Promise<Map<string, Used>> {
    const found = await unit.findMany(
      USAGE,
      counters.map(({ id }) => id),
    );
    const used = new Map<string, Used>();
    for (const [i, { id, where }] of counters.entries()) {
      const known = found[i];
      const counted = known === undefined;
      const { bytes } =
        known?.value ??
        (await countUsage(this.backend, { tenant: this.tenant }, { ...where, ...COUNTED }, unit.context));
      used.set(id, { bytes, counted });
    }
    return used;
  }

  private refusal({ scope, limit, growth: needed }: Counter, used: number): StorageError {
    return quotaExceeded(this.operation, { scope, limit, used, needed });
  }

  /**
   * Another tenant's record, which no batch takes along: written first, in the same transaction.
   * @param before the counters whose refusal would be told before its own
   */
  private async settleGlobal(unit: Unit, total: number, before: readonly Counter[]): Promise<void> {
    const bytes = total - this.reserved;
    const limit = this.quotas.global;
    if (bytes === 0) return;
    const counter: Counter = { scope: 'global', id: GLOBAL.id, limit, growth: bytes, where: {} };
    for (let emptied = false; ;) {
      const own = bareUnit(this.backend, GLOBAL.scope.tenant, unit.context);
      const known = await own.find(USAGE, GLOBAL.id);
      const { bytes: used } = known?.value ?? (await countUsage(this.backend, 'all', COUNTED, unit.context));
      if (exceeds(counter, used)) {
        if (emptied) {
          await this.look(unit, before);
          throw this.refusal(counter, used);
        }
        const { now, context } = unit;
        emptied = (await deleteExpired(ENTRIES, this.backend, 'all', {}, now, STEP, context)).found === 0;
        continue;
      }
      if (known === undefined) own.insert(USAGE, { bytes: used + bytes }, { id: GLOBAL.id });
      else own.patch(USAGE, GLOBAL.id, { increment: { bytes } });
      const failure: StorageError | undefined = await own.commit(this.operation);
      if (failure !== undefined) throw failure;
      this.reserved = total;
      return;
    }
  }
}

/** Entries with an expiry of their records count nowhere. */
export const COUNTED = { expiresAt: { $exists: false } } as const;

function exceeds({ growth, limit }: Counter, used: number): boolean {
  return growth > 0 && used + growth > limit;
}
