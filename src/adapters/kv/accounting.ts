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
    for (const counter of kept) {
      const { id, limit, growth: bytes, where } = counter;
      if (known !== undefined && known.get(id) === undefined) {
        const counted = await countUsage(this.backend, { tenant: this.tenant }, { ...where, ...COUNTED }, unit.context);
        this.check(counter, counted.bytes);
        unit.insert(USAGE, { bytes: counted.bytes + bytes }, { id });
      } else {
        unit.patch(USAGE, id, { increment: { bytes } }, bytes > 0 ? { if: { bytes: { $lte: limit - bytes } } } : {});
      }
    }
    if (global > 0) await this.settleGlobal(unit, total);
  }

  /** Gives back what the counter of all tenants was given for a decision that was not written. */
  async undo(unit: Unit): Promise<void> {
    if (this.reserved !== 0) await this.settleGlobal(unit, 0);
  }

  /** The counters that are there, with room for what is to be added. @throws `QUOTA_EXCEEDED` */
  private async look(unit: Unit, counters: readonly Counter[]): Promise<ReadonlyMap<string, number | undefined>> {
    const ids = counters.map(({ id }) => id);
    for (;;) {
      const found = await unit.findMany(USAGE, ids);
      const known = new Map(counters.map(({ id }, i) => [id, found[i]?.value.bytes]));
      const full = counters.find((counter) => exceeds(counter, known.get(counter.id)));
      if (full === undefined) return known;
      const scope = { tenant: this.tenant };
      const { now } = unit;
      if ((await deleteExpired(ENTRIES, this.backend, scope, full.where, now, STEP, unit.context)) === 0)
        this.check(full, known.get(full.id)!);
    }
  }

  private check(counter: Counter, used: number): void {
    const { scope, limit, growth: needed } = counter;
    if (exceeds(counter, used)) throw quotaExceeded(this.operation, { scope, limit, used, needed });
  }

  /** Another tenant's record, which no batch takes along: written first, in the same transaction. */
  private async settleGlobal(unit: Unit, total: number): Promise<void> {
    const bytes = total - this.reserved;
    const limit = this.quotas.global;
    if (bytes === 0) return;
    const counter: Counter = { scope: 'global', id: GLOBAL.id, limit, growth: bytes, where: {} };
    for (;;) {
      const own = bareUnit(this.backend, GLOBAL.scope.tenant, unit.context);
      const known = await own.find(USAGE, GLOBAL.id);
      if (known === undefined) {
        const counted = await countUsage(this.backend, 'all', COUNTED, unit.context);
        this.check(counter, counted.bytes);
        own.insert(USAGE, { bytes: counted.bytes + bytes }, { id: GLOBAL.id });
      } else if (exceeds(counter, known.value.bytes)) {
        const { now, context } = unit;
        if ((await deleteExpired(ENTRIES, this.backend, 'all', {}, now, STEP, context)) > 0) continue;
        this.check(counter, known.value.bytes);
      } else {
        own.patch(USAGE, GLOBAL.id, { increment: { bytes } });
      }
      const failure: StorageError | undefined = await own.commit(this.operation);
      if (failure !== undefined) throw failure;
      this.reserved = total;
      return;
    }
  }
}

/** Entries with an expiry of their records count nowhere. */
export const COUNTED = { expiresAt: { $exists: false } } as const;

function exceeds({ growth, limit }: Counter, used: number | undefined): boolean {
  return used !== undefined && growth > 0 && used + growth > limit;
}
