/**
 * Operations of stores that live on another database than the transaction: left in its outbox, made after its commit. On its
 * own, at once.
 */
import { randomUUID } from 'node:crypto';
import { digest } from '../collection/digest.js';
import { STORES } from '../adapters/factory.js';
import type { StoreName } from '../adapters/settings.js';
import type { StoreHost } from '../adapters/host.js';
import { checkDeliveredOptions, decodeCall, encodeCall, type DeliveredRefusal } from './call.js';
import { checkCall, reached } from './checking.js';
import { DONE, requireAtomic, topicOf, type Delivery, type Leave } from './message.js';

export type Stores = { readonly [N in StoreName]: InstanceType<(typeof STORES)[N]> };

/** What is one decision, and so is made once; and what means something without its answer. */
export const DELIVERABLE = {
  agents: ['saveState', 'restoreState', 'deleteState'],
  conversations: [
    'addMessage',
    'editMessage',
    'deleteMessage',
    'restoreMessage',
    'renameConversation',
    'archiveConversation',
    'unarchiveConversation',
    'upsertUserProfile',
  ],
  jobs: [
    'create',
    'update',
    'transition',
    'upsertSchedule',
    'pauseSchedule',
    'resumeSchedule',
    'enqueueRun',
    'cancelRun',
    'rerun',
    'recordEvent',
  ],
  kv: ['set', 'delete', 'touch', 'persist', 'increment'],
  tasks: [
    'create',
    'update',
    'transition',
    'addDependency',
    'removeDependency',
    'assign',
    'respond',
    'completeAssignment',
    'comment',
    'recordEvent',
  ],
} as const satisfies { readonly [N in StoreName]: readonly (keyof Stores[N])[] };

/** Without what means nothing to a call that is made after the commit. */
type Later<F> = F extends (...args: infer A) => unknown ? (...args: Unbounded<A>) => Promise<Delivery> : never;
type Unbounded<A extends readonly unknown[]> = { [I in keyof A]: WithoutBounds<A[I]> };
// Of an object of any members nothing is taken.
type WithoutBounds<O> = O extends object
  ? string extends keyof O
    ? O
    : 'signal' extends keyof O
      ? Omit<O, DeliveredRefusal> & { readonly [K in DeliveredRefusal]?: never }
      : O
  : O;

/** The store's operations by their names and arguments; each gives the delivery that it will be. */
export type DeliveredStore<N extends StoreName> = {
  readonly [O in (typeof DELIVERABLE)[N][number]]: Later<Stores[N][O & keyof Stores[N]]>;
};

type Operation = (...args: unknown[]) => Promise<unknown>;

/**
 * @param own the transaction's handle of the store, where it lives there
 * @throws `UNSUPPORTED` where its database has no atomic batches
 */
export function deliveredStore<N extends StoreName>(
  name: N,
  host: StoreHost,
  leave: Leave,
  own: Stores[N] | undefined,
): DeliveredStore<N> {
  requireAtomic(host.backend, name);
  const checking: StoreHost = { ...host, begin: reached, transaction: async () => reached() };
  const store = new STORES[name](checking);
  const operations = DELIVERABLE[name].map((operation) => {
    const run = operationOf(store, operation);
    const later = (...args: unknown[]): Promise<Delivery> =>
      leave.during(async () => {
        // Options come last, and have defaults.
        args.slice(run.length).forEach(checkDeliveredOptions);
        const call = encodeCall(args);
        // As they are at the call: what the caller does to them later is none of it.
        const given = decodeCall(call);
        await checkCall(`${name}.${operation}`, () => run(...given));
        if (own !== undefined) {
          await operationOf(own, operation)(...given);
          return DONE;
        }
        const payload = { operation, arguments: call };
        const [left] = await leave.messages([{ topic: topicOf(name), key: keyOf(name, given), payload }]);
        return left!;
      });
    return [operation, later] as const;
  });
  return Object.freeze(Object.fromEntries(operations)) as unknown as DeliveredStore<N>;
}

export function operationOf(store: object, operation: string): Operation {
  return (store as Record<string, Operation>)[operation]!.bind(store);
}

/** With its hyphens or without. */
const UUID = /^([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})$/;

/** What is done to one thing is done in order: it is named first. A new thing has no name yet. */
function keyOf(name: StoreName, [first, second]: readonly unknown[]): string {
  if (typeof first !== 'string') return randomUUID();
  // As the readers of arguments have it, and rather one lane for two things than two for one.
  const named = [first, name === 'kv' && typeof second === 'string' ? second : ''];
  return digest([name, ...named.map((part) => part.trim().toLowerCase().replace(UUID, '$1-$2-$3-$4-$5'))]);
}
