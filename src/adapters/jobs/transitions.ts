/** Which status leads to which, and what must hold of a job before it takes one. */
import type { JsonObject } from '../../backends/backend.js';
import { StorageError } from '../../errors.js';
import type { JobStatus, RunStatus } from './records.js';

const JOB: Readonly<Record<JobStatus, readonly JobStatus[]>> = {
  draft: ['scheduled', 'running', 'cancelled'],
  scheduled: ['running', 'cancelled'],
  running: ['succeeded', 'failed', 'cancelled', 'scheduled'],
  succeeded: ['scheduled'],
  failed: ['scheduled'],
  cancelled: [],
};

const RUN: Readonly<Record<RunStatus, readonly RunStatus[]>> = {
  scheduled: ['running', 'cancelled', 'failed'],
  running: ['succeeded', 'failed', 'cancelled', 'scheduled'],
  succeeded: [],
  failed: [],
  cancelled: [],
};

/** @throws `INVALID_TRANSITION` */
export function checkJobTransition(from: JobStatus, to: JobStatus, rerun = false): void {
  const allowed = rerun ? [...JOB[from], 'running' as const] : JOB[from];
  check('job', from, to, allowed);
}

/** @throws `INVALID_TRANSITION` */
export function checkRunTransition(from: RunStatus, to: RunStatus): void {
  check('run', from, to, RUN[from]);
}

function check<S extends string>(what: string, from: S, to: S, allowed: readonly S[]): void {
  if (allowed.includes(to)) return;
  throw new StorageError('INVALID_TRANSITION', `A ${what} that is ${from} cannot become ${to}`, {
    component: 'jobs',
    details: { from, to, allowed: [...allowed] },
  });
}

/** A guard that holds the transition back. */
export function guardError(guard: string, from: JobStatus, to: JobStatus, message: string): StorageError {
  return new StorageError('INVALID_TRANSITION', message, { component: 'jobs', details: { guard, from, to } });
}

export function isRunOver(status: RunStatus): boolean {
  return RUN[status].length === 0;
}

/** The first of these that is there tells who takes part. */
const ROSTERS = ['personas', 'roster', 'personaRoster'] as const;
const NAMES = ['name', 'persona', 'id'];

export function hasRoster(metadata: JsonObject): boolean {
  const listed = ROSTERS.map((key) => metadata[key]).find((entry) => entry !== undefined && entry !== null);
  const roster = listed ?? metadata['persona'] ?? metadata['personaName'];
  return (Array.isArray(roster) ? roster : [roster]).some(isNamed);
}

function isNamed(entry: unknown): boolean {
  if (typeof entry === 'string') return entry.trim() !== '';
  if (typeof entry !== 'object' || entry === null) return false;
  return NAMES.some((key) => isNamed((entry as Record<string, unknown>)[key]));
}
