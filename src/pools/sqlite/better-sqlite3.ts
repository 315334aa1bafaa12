/** better-sqlite3 as an engine. */
import type Database from 'better-sqlite3';
import type { EngineDatabase, EngineStatement, OpenEngine, Row } from './engine.js';

/** What a backup copies in one turn of the event loop. */
const PAGES = 100;

/** @throws when the package, or its compiled part, is not there. */
export async function loadBetterSqlite3(): Promise<OpenEngine> {
  // Caught for bundlers alone, which take the import then for one of a package that may not be there.
  const { default: Sqlite } = await import('better-sqlite3').catch((cause: unknown) => {
    throw cause;
  });
  return (path) => new BetterDatabase(new Sqlite(path));
}

/** A quarter of the time of a first row goes into naming its columns: here they are asked for once. */
function firstRow(prepare: () => Database.Statement): EngineStatement['get'] {
  let statement: Database.Statement | undefined;
  let names: readonly string[] = [];
  return (parameters) => {
    if (statement === undefined) {
      statement = prepare().raw(true);
      names = statement.columns().map(({ name }) => name);
    }
    const values = statement.get(...parameters) as readonly unknown[] | undefined;
    if (values === undefined) return undefined;
    const row: Record<string, unknown> = {};
    for (let i = 0; i < names.length; i++) row[names[i]!] = values[i];
    return row;
  };
}

class BetterDatabase implements EngineDatabase {
  constructor(readonly client: Database.Database) {}

  get inTransaction(): boolean {
    return this.client.inTransaction;
  }

  prepare(text: string): EngineStatement {
    const statement = this.client.prepare(text);
    return {
      reader: statement.reader,
      get: firstRow(() => this.client.prepare(text)),
      all: (parameters) => statement.all(...parameters) as Row[],
      run: (parameters) => statement.run(...parameters).changes,
    };
  }

  exec(text: string): void {
    this.client.exec(text);
  }

  async backup(path: string, between: () => void): Promise<void> {
    await this.client.backup(path, {
      progress() {
        between();
        return PAGES;
      },
    });
  }

  close(): void {
    this.client.close();
  }
}
