/** The stores by name, and what the settings say of them: data, read before any store is loaded. */
import type { SettingsFragment } from '../component.js';

export const STORE_NAMES = ['agents', 'conversations', 'jobs', 'kv', 'tasks'] as const;
export type StoreName = (typeof STORE_NAMES)[number];

/** One group a store, under the store's own name; and what is said of several. */
export const STORE_SETTINGS = {
  kv: {
    namespaceQuotaBytes: {
      doc: 'Bytes that the values of one namespace of a tenant may take; 0: any number.',
      format: 'nat',
      default: 1_048_576,
    },
    tenantQuotaBytes: {
      doc: 'Bytes that the values of one tenant may take; 0: any number.',
      format: 'nat',
      default: 0,
    },
    globalQuotaBytes: {
      doc: 'Bytes that the values of all tenants may take; 0: any number.',
      format: 'nat',
      default: 0,
    },
    maxValueBytes: { doc: 'Bytes that one value may take.', format: 'positive', default: 1_048_576 },
    defaultTtlSeconds: {
      doc: 'The TTL of what is set without one, a thousand years at most; 0: none.',
      format: 'seconds',
      default: 0,
    },
  },
  tasks: {
    cancelledSatisfies: {
      doc: 'Whether a prerequisite that was cancelled counts as complete.',
      format: 'boolean',
      default: true,
    },
    extraTransitions: {
      doc: 'Whether review may go back to in_progress, and in_progress to ready.',
      format: 'boolean',
      default: false,
    },
  },
  jobs: {
    rosterGuard: { doc: 'Whether a job needs a roster to be scheduled or run.', format: 'boolean', default: true },
    scheduleGuard: {
      doc: 'Whether a job needs a schedule with a run to come to be scheduled or run.',
      format: 'boolean',
      default: true,
    },
    tasksGuard: {
      doc: 'Whether the tasks of a job must be complete before it runs or succeeds.',
      format: 'boolean',
      default: true,
    },
    tenantConcurrency: {
      doc: 'How many runs of one tenant may be held by workers at once; 0: any number.',
      format: 'nat',
      default: 0,
    },
  },
  conversations: {
    historyLimit: {
      doc: 'The most messages that loadRecentMessages gives; 0: any number.',
      format: 'nat',
      default: 0,
    },
    vectors: {
      doc: 'The vector collection of messages that have an embedding.',
      format: 'string',
      default: 'qm-messages',
    },
  },
  retention: {
    interval: {
      doc: 'Milliseconds from one run over every tenant to the next; 0: no runs but those that are asked for.',
      format: 'milliseconds',
      default: 0,
    },
    messageRetentionDays: kept('Days after which messages are deleted'),
    softDeleteAfterDays: kept('Days after which messages are marked as deleted'),
    softDeleteGraceDays: kept('Days after which messages that are marked as deleted are'),
    conversationArchiveDays: kept('Days after the last message when a conversation is archived'),
    archivedConversationRetentionDays: kept(
      'Days after which conversations are deleted that are archived and were not written to since',
    ),
    maxConversations: kept('Conversations of a tenant that stay out of the archive, the newest'),
    taskDays: kept('Days after which tasks that ended are deleted'),
    jobDays: kept('Days after which jobs and runs that ended are deleted'),
    keepRuns: kept('Runs that ended which are kept of a job, the newest'),
    agentEventDays: kept('Days after which events of agents are deleted'),
  },
  outbox: {
    deliver: {
      doc: 'Whether this process delivers what transactions leave for other databases and for vector services (tx.deliver).',
      format: 'boolean',
      default: true,
    },
    maxAge: {
      doc: 'Milliseconds that a message of the outbox may wait before the health report is degraded.',
      format: 'milliseconds',
      default: 900_000,
    },
  },
  events: {
    outbox: {
      doc: 'Whether the events of the stores are left for durable subscriptions (storage.subscribe) too, in the outbox.',
      format: 'boolean',
      default: false,
    },
  },
} as const satisfies SettingsFragment;

/** What a policy of retention keeps. */
function kept(doc: string): { readonly doc: string; readonly format: 'nat'; readonly default: 0 } {
  return { doc: `${doc}; 0: off.`, format: 'nat', default: 0 };
}

type Value<Format> = Format extends 'nat' | 'positive' | 'seconds' | 'milliseconds' | 'timeout'
  ? number
  : Format extends 'boolean'
    ? boolean
    : string;

/** The resolved settings of the stores: `settings.kv.maxValueBytes`. */
export type StoreSettings = {
  readonly [Group in keyof typeof STORE_SETTINGS]: {
    readonly [Key in keyof (typeof STORE_SETTINGS)[Group]]: (typeof STORE_SETTINGS)[Group][Key] extends {
      readonly format: infer Format;
    }
      ? Value<Format>
      : never;
  };
};
