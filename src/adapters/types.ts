/** The stores' part of the public surface. */
import type { AgentEvents } from './agents.js';
import type { ConversationEvents } from './conversations/records.js';
import type { JobEvents } from './jobs/events.js';
import type { TaskEvents } from './tasks/records.js';

export type { Agent, AgentHost } from './agent.js';

/** What the stores tell: the payload of each type of event. */
export interface StoreEvents extends AgentEvents, ConversationEvents, JobEvents, TaskEvents {}

export type {
  AgentEvents,
  AgentRecord,
  AgentStore,
  AgentState,
  AgentRetention,
  AgentRetentionPolicy,
  AgentStateRevision,
  StateChangeOptions,
} from './agents.js';
export type { ConversationStore } from './conversations.js';
export type { NewConversationMessage } from './conversations/append.js';
export type { ConversationCapabilities } from './conversations/base.js';
export type { MessageChanges } from './conversations/edits.js';
export type { MessageListOptions, MessageQueryOptions } from './conversations/history-options.js';
export type { ImportReport } from './conversations/import.js';
export type {
  Asset,
  Conversation,
  ConversationEvent,
  ConversationEvents,
  Message,
  MessageEvent,
  MessageRevision,
  Session as ConversationSession,
  User,
} from './conversations/records.js';
export type { ConversationRetention, ConversationRetentionReport } from './conversations/retain.js';
export type { MessageHit, MessageHits, MessageSearch } from './conversations/search.js';
export type { ConversationListOptions } from './conversations/threads.js';
export type { ConversationStatistics } from './conversations/transfer.js';
export type { TrimOptions } from './conversations/trim.js';
export type { UserProfile } from './conversations/users.js';
export type { MessageVector, NewMessageVector } from './conversations/vectors.js';
export type { Actor, StoreEvent } from './events.js';
export type { JobStore } from './jobs.js';
export type { JobChange, JobStoreCapabilities } from './jobs/base.js';
export type { ClaimedRun, JobClaimOptions } from './jobs/claim-operations.js';
export type { EnsureJobOptions } from './jobs/declaration-operations.js';
export type { JobEvents } from './jobs/events.js';
export type { JobWorkerStatus, RunContext, RunFailure, RunHandler, RunHandlers, WorkOptions } from './jobs/handler.js';
export type { JobChanges, JobDetails, ListJobsOptions, NewJob } from './jobs/job-operations.js';
export type { Heartbeat } from './jobs/lease-operations.js';
export type { AssignmentChange, LinkedTask } from './jobs/link-operations.js';
export type { JobRetention, JobRetentionReport, JobStats } from './jobs/maintenance-operations.js';
export type {
  Checkpoint,
  Job,
  JobAssignment,
  JobLink,
  JobRun,
  JobSchedule,
  JobStatus,
  RetryPolicy,
  RunStatus,
} from './jobs/records.js';
export type { EnqueuedRun, NewRun, RunChange } from './jobs/run-operations.js';
export type { NewSchedule } from './jobs/schedule-operations.js';
export type { TaskSnapshot } from './jobs/tasks.js';
export type { JobWorker } from './jobs/worker.js';
export type { KeyValueStore, LockOptions as KeyValueLockOptions } from './kv.js';
export type { Comparison, Exchange, IncrementEntryOptions, Replacement } from './kv/atomic.js';
export type { SetManyItem } from './kv/bulk.js';
export type { Entry, KeyValue } from './kv/entry.js';
export type { Lock as KeyValueLock } from './kv/locks.js';
export type { KeyValueCapabilities, ListEntriesOptions, NamespaceUsage } from './kv/reader.js';
export type { Deletion, SetOptions } from './kv/writer.js';
export type {
  MessageHandler,
  MessagePage,
  MessageRecord,
  StorageAction,
  StorageAnswer,
  StorageFailure,
  StorageMessage,
  StorageSuccess,
} from './message-handler.js';
export type { ListPage, PageOptions } from './page.js';
export type {
  Retention,
  RetentionOptions,
  RetentionReport,
  StoreRetentionReport,
  TenantRetentionReport,
} from './retention.js';
export type { RetentionPolicy } from './retention/policy.js';
export type { RetentionCounts } from './retention/stores.js';
export type { ChangeOptions, Entity } from './store.js';
export type { NewTask, TaskStore, TaskTransition, TaskUpdate } from './tasks.js';
export type { Prerequisite } from './tasks/dependencies.js';
export type { KeyedOptions, TaskChangeOptions } from './tasks/linker.js';
export type { AssignmentListOptions, TaskFilter, TaskListOptions, TaskSearch } from './tasks/reader.js';
export type {
  AssignmentStatus,
  DependencyType,
  Task,
  TaskAssignment,
  TaskChange,
  TaskDependency,
  TaskEvents,
  TaskStatus,
} from './tasks/records.js';
export type { TaskRetentionPolicy } from './tasks/remover.js';
export type { TaskRetention } from './tasks/retention.js';
