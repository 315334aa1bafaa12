/**
 * Limits of how many runs are held at once. A limit is a gate: a record that counts the runs which have a place under it. A
 * run that finds no place leaves the queue for the lane of that gate, so that no claim meets it again until one is free.
 * A run that needs two places takes the one of its job first, and waits with it for the one of its tenant.
 */
import type { StoredRecord } from '../../collection/record-codec.js';
import type { Filter } from '../../filter/syntax.js';
import type { Unit } from '../unit.js';
import { held, type Taking } from './claim.js';
import { compact, GATES, RUNS, type GateValue, type RunValue } from './records.js';

type RunRecord = StoredRecord<RunValue>;

/** A run before and after what a decision does with it. */
export interface ChangedRun {
  readonly was: RunRecord;
  readonly is: RunRecord;
}

/** The id of the tenant's gate; that of a job's is the job's. */
export const TENANT_GATE = 'tenant';

/** In the claims' one index over every tenant, a lane is a range of its own. */
export function laneOf(gateId: string, tenant: string): NonNullable<RunValue['queue']> {
  return gateId === TENANT_GATE ? `limit:tenant:${tenant}` : `limit:${gateId}`;
}

/** A gate as one decision finds it, and what that does with it. */
export class Gate {
  private taken = 0;
  private parked = 0;
  private isFull = false;
  /** Of those that were parked. */
  private readonly names = new Set<string>();
  /** How many may be held, at least and at most, when the decision is written: else it is made again. */
  private least = 0;
  private most = Infinity;

  /** @param isServed whether the decision is about those who wait at it: others go behind them */
  constructor(
    private readonly id: string,
    private readonly record: StoredRecord<GateValue> | undefined,
    private readonly isServed = false,
  ) {}

  /** Takes a place for a run, unless there is none or others wait for it already. */
  take(limit: number): boolean {
    if (this.parked > 0 || this.isOthers()) return false;
    if ((this.record?.value.held ?? 0) + this.taken >= limit) {
      this.isFull = true;
      this.least = limit - this.taken;
      return false;
    }
    this.taken++;
    this.most = Math.min(this.most, limit - this.taken);
    return true;
  }

  /** @param jobName by which claims of named jobs find it */
  park(jobName?: string): void {
    this.parked++;
    if (jobName !== undefined) this.names.add(jobName);
  }

  /** @param isEmpty of the gate that is served: whether nobody else waits at it */
  write(unit: Unit, isEmpty = false): void {
    const { taken, parked, isFull, record } = this;
    if (taken === 0 && parked === 0 && !isFull && !isEmpty) return;
    const name = this.nameOf(record);
    if (record === undefined) {
      const value = { held: taken, parked, waiting: parked > 0, room: parked === 0, ...compact({ jobName: name }) };
      unit.insert(GATES, value, { id: this.id });
      return;
    }
    const waiting = isEmpty && !isFull ? { waiting: false } : parked > 0 ? { waiting: true } : {};
    const known = record.value.jobName;
    const changes = {
      increment: { held: taken, parked },
      set: { ...waiting, ...(isFull ? { room: false } : {}), ...compact({ jobName: name }) },
      // Its job was renamed: claims of either name are to find it.
      ...(this.names.size > 0 && name === undefined && known !== undefined ? { unset: ['jobName' as const] } : {}),
    };
    const conditions: Filter<GateValue> = {
      $and: [
        ...(isFull ? [{ held: { $gte: this.least } }] : []),
        ...(taken > 0 ? [{ held: { $lte: this.most } }] : []),
      ],
      // Who goes behind others must be seen by whoever finds that nobody waits.
      ...(parked > 0 && this.isOthers() ? { waiting: true } : {}),
      // What the name was made of.
      ...(this.names.size > 0 ? { jobName: known ?? { $exists: false } } : {}),
      ...(waiting.waiting === false ? { parked: record.value.parked } : {}),
    };
    unit.patch(GATES, this.id, changes, { if: conditions });
  }

  /** @returns none where those who wait are of several names, which every claim finds, or where nobody was parked */
  private nameOf(record: StoredRecord<GateValue> | undefined): string | undefined {
    const { waiting = false, jobName } = record?.value ?? {};
    if (waiting && jobName === undefined) return undefined;
    const names = new Set([...this.names, ...(waiting && this.names.size > 0 ? [jobName] : [])]);
    return names.size === 1 ? [...names][0] : undefined;
  }

  private isOthers(): boolean {
    return this.record?.value.waiting === true && !this.isServed;
  }
}

/** The gates that a decision about runs of one tenant has to do with. */
export interface Gates {
  readonly ofJobs: ReadonlyMap<string, Gate>;
  /** Absent: the tenant has no limit. */
  readonly ofTenant?: { readonly gate: Gate; readonly limit: number };
}

/** Starts a run that has a place under each of its limits, or leaves it in the lane of the first where it has none. */
export function startOrPark(
  unit: Unit,
  run: RunRecord,
  { ofJobs, ofTenant }: Gates,
  taking: Pick<Taking, 'workerId' | 'leaseUntil'>,
  now: Date,
): RunRecord | undefined {
  let { value } = run;
  const { jobId, jobName, limit, jobSlot } = value;
  const park = (gate: Gate, gateId: string, name?: string): undefined => {
    const queue = laneOf(gateId, unit.tenant);
    // Served, and there is no place after all: it stays where it is.
    if (value.queue === queue) return;
    gate.park(name);
    unit.replace(RUNS, run, { ...value, queue });
  };
  if (limit !== undefined && jobSlot !== true) {
    const gate = ofJobs.get(jobId)!;
    if (!gate.take(limit)) return park(gate, jobId, jobName);
    value = { ...value, jobSlot: true };
  }
  if (ofTenant !== undefined) {
    if (!ofTenant.gate.take(ofTenant.limit)) return park(ofTenant.gate, TENANT_GATE);
    value = { ...value, tenantSlot: true };
  }
  return unit.replace(RUNS, run, held(value, taking, now));
}

/** Frees the places that runs have no more. @param runs all of the decision's at once */
export function freePlaces(unit: Unit, runs: readonly ChangedRun[]): void {
  const places = new Map<string, number>();
  const free = (id: string): void => void places.set(id, (places.get(id) ?? 0) + 1);
  for (const { was, is } of runs) {
    if (was.value.jobSlot === true && is.value.jobSlot !== true) free(was.value.jobId);
    if (was.value.tenantSlot === true && is.value.tenantSlot !== true) free(TENANT_GATE);
  }
  // Not by a version: ends of many runs at once must not be decided again for one another.
  for (const [id, count] of places) unit.patch(GATES, id, { increment: { held: -count }, set: { room: true } });
}
