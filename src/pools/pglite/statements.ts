/**
 * Statements as the messages of the protocol. PGlite's own `query` parses and plans a text each time it comes, which is most
 * of what a short statement costs: here one that has a name is parsed once, and the engine keeps its plan.
 */
import type { PGlite } from '@electric-sql/pglite';
import { affectedRows } from '../command-tag.js';
import type { SqlResult, SqlValue } from '../pool.js';
import { restoreMarks } from './byte-order-marks.js';

/** Of PGlite's `protocol`, what is used here. */
export interface Serialize {
  parse(query: { readonly name: string; readonly text: string }): Uint8Array;
  describe(target: { readonly type: 'S'; readonly name: string }): Uint8Array;
  bind(values: { readonly statement: string; readonly values: readonly (string | null)[] }): Uint8Array;
  execute(portal: object): Uint8Array;
  close(target: { readonly type: 'S'; readonly name: string }): Uint8Array;
  sync(): Uint8Array;
}

interface Message {
  readonly name: string;
  readonly dataTypeIDs?: readonly number[];
  readonly fields?: readonly unknown[];
  readonly text?: string;
}

interface Column {
  readonly name: string;
  readonly parse: ((text: string) => unknown) | undefined;
}

interface Prepared {
  /** The oids of its parameters. */
  readonly types: readonly number[];
  readonly columns: readonly Column[];
}

export class Statements {
  private readonly prepared = new Map<string, Prepared>();

  constructor(
    private readonly client: PGlite,
    private readonly serialize: Serialize,
  ) {}

  /** @param name absent: it is parsed for this once. */
  run(text: string, parameters: readonly SqlValue[], name = ''): Promise<SqlResult> {
    return this.client.runExclusive(async () => {
      try {
        const { types, columns } = this.prepared.get(name) ?? (await this.prepare(text, name));
        const values = parameters.map((value, i) => this.encode(value, types[i]!));
        await this.send(this.serialize.bind({ statement: name, values }));
        const { messages, data } = await this.client.execProtocol(this.serialize.execute({}), { syncToFs: false });
        restoreMarks(data, rowsOf(messages));
        return readResult(messages, columns);
      } catch (error) {
        // It may be the statement itself that is not there any more, or not as it was.
        this.prepared.delete(name);
        throw error;
      } finally {
        // What is not in a transaction is committed here.
        await this.client.execProtocolStream(this.serialize.sync());
      }
    });
  }

  /** After what may have dropped the statements, or changed what they read. */
  forget(): void {
    this.prepared.clear();
  }

  private async prepare(text: string, name: string): Promise<Prepared> {
    // What stands under the name by now: it may be forgotten, or have failed.
    if (name !== '') await this.send(this.serialize.close({ type: 'S', name }));
    await this.send(this.serialize.parse({ name, text }));
    const messages = await this.send(this.serialize.describe({ type: 'S', name }));
    const fields = find(messages, 'rowDescription')?.fields as { name: string; dataTypeID: number }[] | undefined;
    const prepared = {
      types: find(messages, 'parameterDescription')?.dataTypeIDs ?? [],
      columns: (fields ?? []).map((field) => ({ name: field.name, parse: this.client.parsers[field.dataTypeID] })),
    };
    if (name !== '') this.prepared.set(name, prepared);
    return prepared;
  }

  /** One by one: behind a message that stops the engine, PGlite would read the others for ever. */
  private send(message: Uint8Array): Promise<readonly Message[]> {
    return this.client.execProtocolStream(message, { syncToFs: false });
  }

  private encode(value: SqlValue, type: number): string | null {
    if (value === null) return null;
    return this.client.serializers[type]?.(value) ?? String(value);
  }
}

function find(messages: readonly Message[], name: string): Message | undefined {
  return messages.find((message) => message.name === name);
}

function* rowsOf(messages: readonly Message[]): Generator<(string | null)[]> {
  for (const { name, fields } of messages) if (name === 'dataRow') yield fields as (string | null)[];
}

function readResult(messages: readonly Message[], columns: readonly Column[]): SqlResult {
  const rows: Record<string, unknown>[] = [];
  for (const { name, fields, text } of messages)
    if (name === 'dataRow') rows.push(readRow(fields as (string | null)[], columns));
    else if (name === 'commandComplete') return { rows, affected: affectedRows(text!) };
  // The engine ran out of stack, for one: PGlite reports that as an empty result.
  throw new Error('The engine gave no answer');
}

function readRow(texts: readonly (string | null)[], columns: readonly Column[]): Record<string, unknown> {
  const row: Record<string, unknown> = {};
  for (let i = 0; i < texts.length; i++) {
    const { name, parse } = columns[i]!;
    const text = texts[i]!;
    row[name] = text === null || parse === undefined ? text : parse(text);
  }
  return row;
}
