import { isStorageError, type StorageError } from '../../src/errors.js';
import { Lifecycle, type LifecycleOptions, type LifecycleState, type Managed } from '../../src/lifecycle.js';
import { ManualClock } from './manual-clock.js';
import type { ProbeComponent } from './probe-component.js';

export const OPEN_TIMEOUT = 10_000;
export const DRAIN_TIMEOUT = 5_000;

export function critical(component: ProbeComponent, after?: string[]): Managed {
  return { component, critical: true, ...(after === undefined ? {} : { after }) };
}

export function optional(component: ProbeComponent, after?: string[]): Managed {
  return { component, critical: false, ...(after === undefined ? {} : { after }) };
}

export function setUp(
  compose: () => readonly Managed[] | Promise<readonly Managed[]>,
  more: Pick<LifecycleOptions, 'onFault'> = {},
) {
  const clock = new ManualClock();
  const states: LifecycleState[] = [];
  const lifecycle = new Lifecycle({
    components: async () => compose(),
    clock,
    openTimeout: OPEN_TIMEOUT,
    drainTimeout: DRAIN_TIMEOUT,
    onState: (state) => void states.push(state),
    ...more,
  });
  return { clock, lifecycle, states };
}

export async function failureOf(promise: Promise<unknown>): Promise<StorageError> {
  const reason: unknown = await promise.then(
    () => new Error('it resolved'),
    (error: unknown) => error,
  );
  if (!isStorageError(reason)) throw reason;
  return reason;
}

export function statesOf(lifecycle: Lifecycle): Record<string, string> {
  return Object.fromEntries(lifecycle.components().map(({ name, state }) => [name, state]));
}

export const never = (): Promise<never> => new Promise<never>(() => undefined);

export function raise(error: Error): never {
  throw error;
}

export function rejectWith(reason: unknown): Promise<never> {
  // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- third parties reject with anything
  return Promise.reject(reason);
}
