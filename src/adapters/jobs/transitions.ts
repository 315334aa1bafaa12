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

/** Each of them may tell who takes part. */
const ROSTERS = ['personas', 'roster', 'personaRoster', 'persona', 'personaName'];
const NAMES = ['name', 'persona', 'id'];

/** @throws `INVALID_TRANSITION` for a job whose metadata name nobody */
export function checkRoster(metadata: JsonObject, from: JobStatus, to: JobStatus): void {
  if (ROSTERS.flatMap((key) => metadata[key]).some(isNamed)) return;
  throw guardError(
    'roster',
    from,
    to,
    `The job has no roster: none of metadata.${ROSTERS.join(', ')} names who does it (jobs.rosterGuard: false asks for none)`,
  );
}

function isNamed(entry: unknown): boolean {
  if (typeof entry === 'string') return entry.trim() !== '';
  if (typeof entry !== 'object' || entry === null) return false;
  return NAMES.some((key) => isNamed((entry as Record<string, unknown>)[key]));
}
