/** An import under other ids: a copy, beside what it was made from. */
import { hash } from 'node:crypto';
import type { CollectionDefinition } from '../../collection/definition.js';
import type { StoredRecord } from '../../collection/record-codec.js';
import { isPlainObject } from '../../filter/json.js';
import { uuid } from '../arguments.js';
import type { ConversationImport, ImportReport, Line } from './import.js';
import { SESSIONS, USERS, type SessionValue, type UserValue } from './records.js';

/** The users or sessions of these names that are there. */
export type NamedIds = (
  definition: CollectionDefinition<UserValue | SessionValue>,
  names: readonly string[],
) => Promise<readonly StoredRecord<UserValue | SessionValue>[]>;

const NAMED = new Map<string, CollectionDefinition<UserValue | SessionValue>>([
  ['user', USERS],
  ['session', SESSIONS],
]);
const REFERENCES = ['userId', 'sessionId', 'conversationId', 'messageId'] as const;
/** Users or sessions whose names are looked up at once. */
const AT_ONCE = 200;

export class RemappedImport {
  /** Users and sessions that are taken for those that are there, by their ids in the export. */
  private readonly taken = new Map<string, string>();
  private readonly conversationIds: Record<string, string> = {};
  private waiting: { readonly line: Line; readonly number: number }[] = [];

  constructor(
    private readonly work: ConversationImport,
    private readonly tenant: string,
    private readonly named: NamedIds,
  ) {}

  async add(line: Line | undefined, number: number): Promise<void> {
    const kind = line !== undefined && NAMED.has(line.kind) ? line.kind : undefined;
    if (this.waiting.length === AT_ONCE || this.waiting[0]?.line.kind !== kind) await this.lookUp();
    if (line !== undefined && kind !== undefined) this.waiting.push({ line, number });
    else await this.pass(line, number);
  }

  async flush(): Promise<void> {
    await this.lookUp();
    await this.work.flush();
  }

  report(): ImportReport {
    return { ...this.work.report(), conversationIds: this.conversationIds };
  }

  private async lookUp(): Promise<void> {
    const { waiting } = this;
    this.waiting = [];
    const byName = new Map<string, Line>();
    for (const { line } of waiting) {
      const name = isPlainObject(line['value']) ? line['value']['externalId'] : undefined;
      if (typeof name === 'string') byName.set(name, line);
    }
    if (byName.size > 0)
      for (const { id, value } of await this.named(NAMED.get(waiting[0]!.line.kind)!, [...byName.keys()])) {
        const before = readId(byName.get(value.externalId!)?.['id']);
        if (before !== undefined) this.taken.set(before, id);
      }
    for (const { line, number } of waiting) await this.pass(line, number);
  }

  private pass(line: Line | undefined, number: number): Promise<void> {
    if (line === undefined) return this.work.add(line, number);
    const id = this.idOf(line['id']);
    const before = readId(line['id']);
    if (line.kind === 'conversation' && before !== undefined) this.conversationIds[before] = id as string;
    if (!isPlainObject(line['value'])) return this.work.add({ ...line, id }, number);
    const value: Record<string, unknown> = { ...line['value'] };
    for (const name of REFERENCES) if (value[name] !== undefined) value[name] = this.idOf(value[name]);
    return this.work.add({ ...line, id, value }, number);
  }

  /** What is no id stays, to be rejected. */
  private idOf(given: unknown): unknown {
    const id = readId(given);
    return id === undefined ? given : (this.taken.get(id) ?? derivedId(this.tenant, id));
  }
}

function readId(given: unknown): string | undefined {
  try {
    return uuid(given, 'id');
  } catch {
    return undefined;
  }
}

/** The same each time, so that a copy that was cut short is gone on with; with the time of a UUID of version 7. */
function derivedId(tenant: string, id: string): string {
  const digits = hash('sha256', `${tenant}\n${id}`);
  const start = id[14] === '7' ? id.slice(0, 15) : `${digits.slice(0, 8)}-${digits.slice(8, 12)}-8`;
  const variant = '89ab'[Number.parseInt(digits[12]!, 16) % 4]!;
  return `${start}${digits.slice(13, 16)}-${variant}${digits.slice(16, 19)}-${digits.slice(20, 32)}`;
}
