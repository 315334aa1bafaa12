/** What the host's steps and those that have run say together: what is to be run, or why nothing is. */
import { StorageError } from '../errors.js';
import type { AppliedStep } from './records.js';
import type { CheckedStep } from './steps.js';

export interface StepStatus {
  readonly version: number;
  readonly name: string;
  /**
   * `applied`; `pending`: it has not run; `changed`: it ran under another name or with another checksum; `unknown`: it
   * ran, and the host has no step of its version; `late`: it has not run, but a later one has.
   */
  readonly state: 'applied' | 'pending' | 'changed' | 'unknown' | 'late';
  readonly appliedAt?: Date;
  /** Milliseconds. */
  readonly duration?: number;
}

type Steps<Tx> = readonly CheckedStep<Tx>[];

export function statusOf<Tx>(steps: Steps<Tx>, applied: readonly AppliedStep[]): StepStatus[] {
  const byVersion = new Map(applied.map((step) => [step.version, step]));
  const last = applied.at(-1)?.version ?? 0;
  const own = steps.map((step): StepStatus => {
    const { version, name } = step;
    const ran = byVersion.get(version);
    byVersion.delete(version);
    if (ran === undefined) return { version, name, state: version < last ? 'late' : 'pending' };
    const state = ran.name === name && ran.checksum === step.checksum ? 'applied' : 'changed';
    return { version, name, state, appliedAt: ran.appliedAt, duration: ran.duration };
  });
  const unknown = [...byVersion.values()].map(({ version, name, appliedAt, duration }): StepStatus => ({
    version,
    name,
    state: 'unknown',
    appliedAt,
    duration,
  }));
  return [...own, ...unknown].sort((a, b) => a.version - b.version);
}

/** @throws `MIGRATION` unless what has run is the beginning of the host's steps. */
export function planUp<Tx>(steps: Steps<Tx>, applied: readonly AppliedStep[], to = Infinity): Steps<Tx> {
  checkAgreement(steps, applied);
  const last = applied.at(-1)?.version ?? 0;
  return steps.filter(({ version }) => version > last && version <= to);
}

/** @throws `MIGRATION` as `planUp`, and for a step that cannot be taken back. */
export function planDown<Tx>(steps: Steps<Tx>, applied: readonly AppliedStep[], to: number): Steps<Tx> {
  checkAgreement(steps, applied);
  const last = applied.at(-1)?.version ?? 0;
  const back = steps.filter(({ version }) => version > to && version <= last).reverse();
  const lasting = back.find(({ down }) => down === undefined);
  if (lasting !== undefined)
    throw disagreement('no-down', lasting, 'has no down: it cannot be taken back, and nothing was');
  return back;
}

function checkAgreement<Tx>(steps: Steps<Tx>, applied: readonly AppliedStep[]): void {
  for (const status of statusOf(steps, applied)) {
    const ran = applied.find(({ version }) => version === status.version);
    if (status.state === 'unknown')
      throw disagreement('missing', status, 'has run on this database, and is not among the steps');
    if (status.state === 'late')
      throw disagreement('late', status, `has not run, but a later one has: give it a version above that one's`);
    if (status.state === 'changed')
      throw ran!.name === status.name
        ? disagreement('changed', status, 'has run on this database with another checksum: write a new step instead')
        : disagreement('renamed', status, `has run on this database as ${ran!.name}`);
  }
}

function disagreement(
  reason: string,
  { version, name }: { version: number; name: string },
  text: string,
): StorageError {
  return new StorageError('MIGRATION', `The step ${version} (${name}) ${text}`, {
    operation: 'migrate',
    details: { version, name, reason },
  });
}
