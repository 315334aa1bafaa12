/** The stores that have a retention: what of a policy is theirs, and what they count. */
import type { RecordSchema } from '../../backends/backend.js';
import type { AgentRetention } from '../agents.js';
import { AGENTS } from '../agents/records.js';
import type { ConversationRetentionReport } from '../conversations/retain.js';
import { CONVERSATIONS } from '../conversations/records.js';
import type { StoreFactory } from '../factory.js';
import type { JobRetentionReport } from '../jobs/maintenance-operations.js';
import { JOBS } from '../jobs/records.js';
import { TASKS } from '../tasks/records.js';
import type { TaskRetention } from '../tasks/retention.js';
import { pick, type Policy } from './policy.js';

/** What each store counts: records that were, or would be, deleted (of conversations also archived and marked). */
export interface RetentionCounts {
  readonly conversations: ConversationRetentionReport;
  readonly tasks: TaskRetention;
  readonly jobs: Omit<JobRetentionReport, 'dryRun'>;
  readonly agents: AgentRetention;
}
export type RetainedStore = keyof RetentionCounts;
export type RetainedStores = Pick<StoreFactory, RetainedStore>;

interface Retained<Counts> {
  /** A tenant with anything in the store has a record here. */
  readonly anchor: RecordSchema;
  readonly keys: readonly (keyof Policy)[];
  readonly none: Counts;
  retain(
    stores: RetainedStores,
    policy: Policy,
    options: { readonly dryRun: boolean; readonly signal: AbortSignal },
  ): Promise<Counts>;
}

const OF_CONVERSATIONS = [
  'messageRetentionDays',
  'softDeleteAfterDays',
  'softDeleteGraceDays',
  'conversationArchiveDays',
  'archivedConversationRetentionDays',
  'maxConversations',
] as const;
const OF_TASKS = ['taskDays'] as const;
const OF_JOBS = ['jobDays', 'keepRuns'] as const;
const OF_AGENTS = ['agentEventDays'] as const;

export const RETAINED: { readonly [Name in RetainedStore]: Retained<RetentionCounts[Name]> } = {
  conversations: {
    anchor: CONVERSATIONS.schema,
    keys: OF_CONVERSATIONS,
    none: { messages: { softDeleted: 0, hardDeleted: 0 }, conversations: { archived: 0, deleted: 0 } },
    retain: ({ conversations }, policy, options) => conversations.retain(pick(policy, OF_CONVERSATIONS), options),
  },
  tasks: {
    anchor: TASKS.schema,
    keys: OF_TASKS,
    none: { tasks: 0, dependencies: 0, assignments: 0, events: 0, jobLinks: 0 },
    retain: ({ tasks }, policy, options) => tasks.retain(pick(policy, OF_TASKS), options),
  },
  jobs: {
    anchor: JOBS.schema,
    keys: OF_JOBS,
    none: { jobs: 0, runs: 0 },
    async retain(stores, policy, options) {
      const { jobs, runs } = await stores.jobs.retain(pick(policy, OF_JOBS), options);
      return { jobs, runs };
    },
  },
  agents: {
    anchor: AGENTS.schema,
    keys: OF_AGENTS,
    none: { events: 0 },
    retain: ({ agents }, policy, options) => agents.retain(pick(policy, OF_AGENTS), options),
  },
};

type Counts = { readonly [kind: string]: number | Counts };

/** The same figures, each with its fellow. */
export function sum<C extends object>(a: C, b: C): C {
  const other = b as Counts;
  const sums = Object.entries(a as Counts).map(([kind, value]) => [
    kind,
    typeof value === 'number' ? value + (other[kind] as number) : sum(value, other[kind] as Counts),
  ]);
  return Object.fromEntries(sums) as C;
}

export function isNone(counts: object): boolean {
  return Object.values(counts as Counts).every((value) => (typeof value === 'number' ? value === 0 : isNone(value)));
}
