/** Taking in the lines of an export: each batch is of one conversation, and atomic. */
import { jsonBytes } from '../../backends/value.js';
import type { StoredRecord } from '../../collection/record-codec.js';
import { isStorageError, type StorageError } from '../../errors.js';
import { instant, optional, uuid } from '../arguments.js';
import type { Unit } from '../unit.js';
import { BatchPlan, type ImportMode } from './import-batch.js';
import { keyOf, type Item } from './import-item.js';
import { checkNames } from './import-names.js';
import { VALUES } from './import-values.js';
import { BATCH_BYTES } from './portions.js';
import type { ConversationValue } from './records.js';

export interface ImportReport {
  /** By kind: user, session, conversation, message, revision. */
  readonly written: Readonly<Record<string, number>>;
  readonly replaced: Readonly<Record<string, number>>;
  readonly skipped: Readonly<Record<string, number>>;
  /** Messages whose place was another's by then, and all that came after such a one: they stand at the end, in their order. */
  readonly moved: number;
  readonly rejected: number;
  /** The first 100 of what was rejected; lines count from 1. */
  readonly rejections: readonly { readonly line: number; readonly error: string }[];
  /** With `remapIds`: of every conversation, its id by the one that it had. */
  readonly conversationIds?: Readonly<Record<string, string>>;
}

export interface Line {
  readonly kind: string;
  readonly [member: string]: unknown;
}

/** Records of one batch. */
const BATCH = 200;
const REJECTIONS = 100;

export class ConversationImport {
  records = 0;
  private readonly counts = { written: {}, replaced: {}, skipped: {} } as Record<
    'written' | 'replaced' | 'skipped',
    Record<string, number>
  >;
  private moved = 0;
  private rejected = 0;
  private readonly rejections: { line: number; error: string }[] = [];
  private batch: Item[] = [];
  private bytes = 0;
  private owner: string | undefined;
  /** What is in the batch. */
  private readonly keys = new Set<string>();
  /** The conversation whose messages go to its end from now on. */
  private moving: string | undefined;
  /** The last message that was written. */
  private wrote: string | undefined;
  /** Those that a dry run took: they are not there when their messages come. */
  private readonly conversations = new Set<string>();

  constructor(
    /** Makes a decision; in a dry run without writing it. */
    readonly decide: <R>(
      conversation: string | undefined,
      plan: (unit: Unit, found: StoredRecord<ConversationValue> | undefined) => Promise<R>,
    ) => Promise<R>,
    private readonly mode: ImportMode,
    private readonly dryRun: boolean,
  ) {}

  async add(line: Line | undefined, number: number): Promise<void> {
    this.records++;
    const item = this.read(line, number);
    if (item === undefined) return;
    const owner = item.kind === 'conversation' ? item.id : (item.value['conversationId'] as string | undefined);
    const bytes = jsonBytes(item.value);
    const isFull = this.batch.length === BATCH || this.bytes + bytes > BATCH_BYTES;
    // What comes twice is there when it comes again.
    if (owner !== this.owner || isFull || this.keys.has(keyOf(item))) await this.flush();
    this.owner = owner;
    this.batch.push(item);
    this.keys.add(keyOf(item));
    this.bytes += bytes;
  }

  async flush(): Promise<void> {
    const { batch, owner } = this;
    this.batch = [];
    this.bytes = 0;
    this.keys.clear();
    if (batch.length === 0) return;
    try {
      await this.write(batch, owner);
    } catch (error) {
      if (!isStorageError(error) || !['VALIDATION', 'ALREADY_EXISTS', 'NOT_FOUND'].includes(error.code)) throw error;
      if (this.mode === 'fail' && error.code === 'ALREADY_EXISTS') throw error;
      // One by one, so that what cannot be taken keeps nothing else out.
      if (batch.length > 1) for (const item of batch) await this.alone(item, owner);
      else this.reject(batch[0]!.line, error);
    }
  }

  report(): ImportReport {
    const { counts, moved, rejected, rejections } = this;
    return { ...counts, moved, rejected, rejections };
  }

  private async alone(item: Item, owner: string | undefined): Promise<void> {
    this.batch = [item];
    this.owner = owner;
    await this.flush();
  }

  private read(line: Line | undefined, number: number): Item | undefined {
    try {
      const valueOf = line === undefined ? undefined : VALUES.get(line.kind);
      if (line === undefined || valueOf === undefined) throw new Error('not a record of an export');
      const id = uuid(line['id'], 'id');
      const createdAt = instant(line['createdAt'], 'createdAt');
      const expiresAt = optional(instant)(line['expiresAt'], 'expiresAt');
      return { kind: line.kind, line: number, id, createdAt, expiresAt, value: valueOf(line['value'], 'value') };
    } catch (error) {
      this.reject(number, error as Error);
      return undefined;
    }
  }

  private async write(batch: readonly Item[], owner: string | undefined): Promise<void> {
    const outcome = await this.decide(owner, async (unit, found) => {
      const plan = new BatchPlan({
        mode: this.mode,
        isPromised: this.conversations.has(owner ?? ''),
        isMoving: owner !== undefined && owner === this.moving,
        written: this.wrote,
      });
      await plan.make(unit, batch, found);
      if (this.dryRun) await checkNames(unit, plan.puts);
      return plan;
    });
    if (this.dryRun) for (const { kind, id } of batch) if (kind === 'conversation') this.conversations.add(id);
    for (const [outcomeOf, kind] of outcome.outcomes)
      this.counts[outcomeOf][kind] = (this.counts[outcomeOf][kind] ?? 0) + 1;
    this.moved += outcome.moved;
    this.wrote = outcome.written;
    if (outcome.isMoving) this.moving = owner;
  }

  private reject(line: number, error: StorageError | Error): void {
    this.rejected++;
    if (this.rejections.length < REJECTIONS) this.rejections.push({ line, error: error.message });
  }
}
