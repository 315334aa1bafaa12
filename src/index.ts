/** The public surface. Importing it loads no driver, no container and no settings library: those come with the opening. */
import { StorageError } from './errors.js';
import { registry } from './registry.js';
import type { StorageManager } from './manager.js';
import { checkOpenOptions, type OpenOptions } from './open-options.js';
import type { SettingsInput } from './settings.js';

export { defineCollection } from './collection/definition.js';
export {
  ConflictError,
  isStorageError,
  NotFoundError,
  StorageError,
  TimeoutError,
  UnavailableError,
  UnsupportedError,
  ValidationError,
} from './errors.js';
export { registerBackend, registerPool, registerVectorProvider } from './registry.js';

let current: Promise<StorageManager> | undefined;

/**
 * The process's one manager, open. A thousand calls at once open it once; a failed opening is not remembered. Settings are
 * those of the first call, over the environment and the files; without any, PGlite in `./.quartermaster`.
 * @throws `CONFIGURATION` with every fault of the settings, or when the settings differ from the live manager's;
 * `VALIDATION` for an option that there is not.
 */
export async function getStorageManager(settings?: SettingsInput, options: OpenOptions = {}): Promise<StorageManager> {
  checkOpenOptions(options);
  const asked = settings !== undefined || Object.values(options).some((option) => option !== undefined);
  for (;;) {
    const known = current;
    const taken = known ?? compose(settings, options);
    // The faults of one's own settings are thrown; those of somebody else's are theirs.
    const manager = await (known === undefined ? taken : taken.catch(() => undefined));
    const fits = known === undefined || !asked || (manager && (await hasSettings(manager, settings, options)));
    // Others ask, and reset, at the same time: after every wait it must still be the process's one.
    if (manager === undefined || current !== taken) continue;
    if (fits === true) {
      await manager.open();
      return manager;
    }
    if (!['closed', 'failed'].includes(manager.state))
      throw new StorageError(
        'CONFIGURATION',
        'The process has a storage manager with other settings; openStorage makes one of its own',
        { operation: 'getStorageManager' },
      );
    current = undefined;
  }
}

function compose(settings: SettingsInput | undefined, options: OpenOptions): Promise<StorageManager> {
  const composing = import('./container.js').then(({ composeManager }) =>
    composeManager(settings === undefined ? options : { ...options, settings }),
  );
  current = composing;
  composing.catch(() => {
    if (current === composing) current = undefined;
  });
  return composing;
}

async function hasSettings(
  manager: StorageManager,
  settings: SettingsInput | undefined,
  options: OpenOptions,
): Promise<boolean> {
  const { loadSettings, sameSettings } = await import('./settings.js');
  const sources = { ...options, registry };
  const asked = await loadSettings(settings === undefined ? sources : { ...sources, overrides: settings });
  return sameSettings(asked, manager.settings);
}

/** Closes the process's manager and forgets it, so that the next call makes a new one: for tests. */
export async function resetStorageManager(): Promise<void> {
  const known = current;
  current = undefined;
  const manager = await known?.catch(() => undefined);
  await manager?.close();
}

/** An open manager of one's own, beside the process's one: scripts, tests, a copy between two. Close it, or `await using`. */
export async function openStorage(settings?: SettingsInput, options: OpenOptions = {}): Promise<StorageManager> {
  checkOpenOptions(options);
  const { composeManager } = await import('./container.js');
  const manager = await composeManager(settings === undefined ? options : { ...options, settings });
  await manager.open();
  return manager;
}

export type {
  EventContext,
  EventHandler,
  StoreEventOf,
  SubscribeOptions,
  Subscription,
} from './adapters/subscriptions.js';
export type * from './adapters/types.js';
export type { Clock, Timer } from './clock.js';
export type {
  CallOptions,
  CheckResult,
  Component,
  HealthStatus,
  OpenContext,
  Operation,
  OperationContext,
  Session,
  SettingsFragment,
  SettingSpec,
  TestTarget,
} from './component.js';
export type { ErrorCode, StorageErrorOptions } from './errors.js';
export type { OperationMessage } from './operation.js';
export type { AnyCollection, PrepareOptions } from './prepare.js';
export type { Collection } from './collection/collection.js';
export type {
  CollectionDefinition,
  FieldDeclaration,
  IdKind,
  SchemaCollectionSpec,
  TypedCollectionSpec,
} from './collection/definition.js';
export type { LoadItem, LoadOptions } from './collection/load.js';
export type { LoadProgress, LoadReport } from './collection/load-writer.js';
export type { AggregateRow, AggregateSpec } from './collection/aggregate.js';
export type { ListOptions, Page } from './collection/page.js';
export type {
  ClaimOptions,
  IncrementOptions,
  Incrementable,
  Patch,
  PatchOptions,
  Removable,
  ReplaceOptions,
  SaveManyItem,
  SaveOptions,
  Sort,
  UpdateWhereOptions,
  VersionOptions,
} from './collection/options.js';
export type { StoredRecord } from './collection/record-codec.js';
export type {
  AggregateGroup,
  AggregateRequest,
  BackendDriver,
  ClaimRequest,
  CountRequest,
  FindRequest,
  JsonObject,
  JsonValue,
  NumberSummary,
  RecordBackend,
  RecordCapabilities,
  RecordKey,
  RecordSchema,
  Scope,
  Stored,
  TenantScope,
  UpdateRequest,
  Write,
  WriteResult,
} from './backends/backend.js';
export type {
  BackendOperations,
  BlockedOperation,
  CollectionStats,
  ConnectionInfo,
  CurrentOperationsOptions,
  DatabaseStats,
  ExtensionInfo,
  ForeignKeyViolation,
  IndexInfo,
  IntegrityOptions,
  IntegrityReport,
  OperationName,
  Operations,
  PageCount,
  ReindexOptions,
  RunningOperation,
  StatsOptions,
  TableInfo,
  VacuumOptions,
} from './backends/operations.js';
export type { Path } from './filter/paths.js';
export type { Filter, Operators } from './filter/syntax.js';
export type { FilterNode, LeafNode } from './filter/syntax.js';
export type { PushedNode } from './filter/normalize.js';
export type { Range, SortKey } from './filter/cursor.js';
export type { ComponentHealth, HealthReport, Verdict } from './health.js';
export type { CloseOptions, LifecycleState } from './lifecycle.js';
export type { StorageManager } from './manager.js';
export type { ManagerEvents } from './notices.js';
export type { OpenOptions } from './open-options.js';
export type { Migrations, MigrateReport } from './migrations/migrations.js';
export type { MigrateOptions, SettleOptions } from './migrations/options.js';
export type { StepStatus } from './migrations/plan.js';
export type { MigrationStep } from './migrations/steps.js';
export type {
  Isolation,
  Pool,
  PoolDriver,
  PoolEnvironment,
  PoolFigures,
  QueryOptions,
  RunStatement,
  SqliteDialectPool,
  SqlPool,
  SqlResult,
  SqlValue,
  TransactionOptions,
} from './pools/pool.js';
export type { ProbeHandler, ProbeRequest, ProbeResponse } from './probes.js';
export type { DatabaseSettings, Settings, SettingsInput } from './settings.js';
export type { Storage, TenantStorage, Transaction } from './storage.js';
export type { Deliveries } from './delivery/deliveries.js';
export type { Delivery } from './delivery/message.js';
export type { DeliveredCollection } from './delivery/records.js';
export type { DeliveredStore } from './delivery/stores.js';
export type { DeliveredVectors } from './delivery/vectors.js';
export type { LockInfo, Locks } from './unit-of-work/locks.js';
export type { Lock } from './unit-of-work/locks/lock.js';
export type { LockOptions } from './unit-of-work/locks/options.js';
export type { OutboxBacklog } from './unit-of-work/outbox/backlog.js';
export type { Enqueued, NewMessage, TransactionOutbox } from './unit-of-work/outbox/enqueue.js';
export type {
  MessageState,
  Outbox,
  OutboxListOptions,
  OutboxOptions,
  OutboxSelection,
  PendingMessage,
} from './unit-of-work/outbox/outbox.js';
export type { OutboxMessage } from './unit-of-work/outbox/records.js';
export type { Relay, RelayStatus } from './unit-of-work/relay.js';
export type { DeliveryFailure } from './unit-of-work/relay/faults.js';
export type { Backoff, DeliveryContext, Handler, RelayOptions } from './unit-of-work/relay/options.js';
export type { Sequences } from './unit-of-work/sequences.js';
export type { TransactionCallOptions } from './unit-of-work/transaction.js';
export type {
  CompiledFilter,
  FetchedVector,
  FlatMetadata,
  MetadataLeaf,
  Metric,
  ProviderClass,
  ProviderDriver,
  ProviderEnvironment,
  ProviderOptions,
  ScoredVector,
  SearchExplanation,
  StoredSparse,
  StoredVector,
  TextSearch,
  VectorCapabilities,
  VectorCollectionSpec,
  VectorFieldType,
  VectorInclude,
  VectorIndex,
  VectorList,
  VectorProvider,
  VectorSchema,
  VectorScope,
  VectorSearch,
  VectorSelection,
} from './vectors/provider.js';
export type {
  ExplainedHits,
  FetchedRecord,
  Metadata,
  MetadataValue,
  NamespaceOptions,
  ReadOptions,
  RecordVector,
  SparseVector,
  UpsertOptions,
  UpsertProgress,
  UpsertReport,
  VectorDeletion,
  VectorHit,
  VectorListOptions,
  VectorLoadOptions,
  VectorPage,
  VectorQuery,
  VectorRecord,
  VectorStore,
} from './vectors/vector-store.js';
