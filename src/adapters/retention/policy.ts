/** What is kept for how long: by the settings, and for tenants that have a policy of their own. */
import { checkTenant } from '../../backends/value.js';
import { invalid } from '../../errors.js';
import { isPlainObject } from '../../filter/json.js';
import { integer, shape, withDefault, type Reader } from '../arguments.js';
import type { AgentRetentionPolicy } from '../agents.js';
import type { ConversationRetention } from '../conversations/retain.js';
import type { JobRetention } from '../jobs/maintenance-operations.js';
import type { StoreSettings } from '../settings.js';
import type { TaskRetentionPolicy } from '../tasks/remover.js';
import { days, MOST_DAYS } from './days.js';

/** The policies of the stores in one. Days up to 36,525 and counts; 0, null or absent: off, also for `keepRuns`. */
export type RetentionPolicy = {
  readonly [Key in keyof (ConversationRetention & TaskRetentionPolicy & JobRetention & AgentRetentionPolicy)]?:
    number | null | undefined;
};
/** 0: off. */
export type Policy = Readonly<Record<keyof RetentionPolicy, number>>;

const count = withDefault(integer(0, 1_000_000), 0);

const MEMBERS: Readonly<Record<keyof RetentionPolicy, Reader<number>>> = {
  messageRetentionDays: days,
  softDeleteAfterDays: days,
  softDeleteGraceDays: days,
  conversationArchiveDays: days,
  archivedConversationRetentionDays: days,
  maxConversations: count,
  taskDays: withDefault(integer(0, MOST_DAYS), 0),
  jobDays: days,
  keepRuns: count,
  agentEventDays: days,
};
const readPolicy: Reader<Policy> = shape(MEMBERS);
const KEYS = Object.keys(MEMBERS) as (keyof RetentionPolicy)[];

export function policyOf({ retention }: StoreSettings): Policy {
  return readPolicy(Object.fromEntries(KEYS.map((key) => [key, retention[key]])), 'retention');
}

/** By tenant. */
export const readPolicies: Reader<ReadonlyMap<string, Policy>> = (value, key) => {
  if (!isPlainObject(value)) throw invalid(key, value, 'an object of policies by tenant');
  return new Map(
    Object.entries(value).map(([tenant, policy]) => [checkTenant(tenant), readPolicy(policy, `${key}.${tenant}`)]),
  );
};

/** The part of a policy that is one store's. */
export function pick<Key extends keyof RetentionPolicy>(policy: Policy, keys: readonly Key[]): Record<Key, number> {
  return Object.fromEntries(keys.map((key) => [key, policy[key]])) as Record<Key, number>;
}
