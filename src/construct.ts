/**
 * Making a component: its constructor is its own code, or a third party's. What it throws is told as an error that names it,
 * and so is what it gives when that lacks a part, which would be met later as a TypeError that names nobody.
 */
import type { RecordBackend } from './backends/backend.js';
import { missingMember, type Component, type Members, type Method } from './component.js';
import { foreignErrorName, isStorageError, StorageError } from './errors.js';
import type { Pool } from './pools/pool.js';

const COMPONENT = { open: true, check: true, close: true } as const;
const POOL = {
  ...COMPONENT,
  ...{ figures: true, transaction: true, savepoint: true },
} satisfies Record<Method<Pool>, true>;
const BACKEND = {
  ...COMPONENT,
  ...{ ensure: true, read: true, write: true, find: true, count: true, sweep: true },
} satisfies Record<Method<RecordBackend>, true>;
const BACKEND_PARTS = ['capabilities', 'pool'] satisfies (keyof RecordBackend)[];

/** @throws `CONFIGURATION` */
export function constructPool(component: string, make: () => Pool): Pool {
  return construct(component, make, { methods: Object.keys(POOL), parts: [] });
}

/** @throws `CONFIGURATION` */
export function constructBackend(component: string, make: () => RecordBackend): RecordBackend {
  return construct(component, make, { methods: Object.keys(BACKEND), parts: BACKEND_PARTS });
}

/** @throws `CONFIGURATION`, and the errors of this library that `make` throws. */
export function construct<C extends Component>(component: string, make: () => C, members?: Members): C {
  const refused = (why: string, cause?: unknown): StorageError =>
    new StorageError('CONFIGURATION', `${component} could not be created (${why})`, {
      component,
      operation: 'open',
      cause,
    });
  let made: C | undefined;
  try {
    made = make();
  } catch (error) {
    if (isStorageError(error)) throw error;
    throw refused(foreignErrorName(error), error);
  }
  if (typeof made !== 'object' || made === null) throw refused('it was not made');
  const basic = missingMember(made, { methods: Object.keys(COMPONENT), parts: [] });
  if (basic !== undefined) throw refused(`it has ${basic}`);
  if (made.name !== component) throw refused('it has another name than it was given');
  const missing = members === undefined ? undefined : missingMember(made, members);
  if (missing !== undefined) throw refused(`it has ${missing}`);
  return made;
}
