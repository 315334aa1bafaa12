/** better-sqlite3 as an engine. */
import type Database from 'better-sqlite3';
import type { EngineDatabase, EngineStatement, OpenEngine, Row } from './engine.js';

/** What a backup copies in one turn of the event loop. */
const PAGES = 100;

/** @throws when the package, or its compiled part, is not there. */
export async function loadBetterSqlite3(): Promise<OpenEngine> {
  const { default: Sqlite } = await import('better-sqlite3');
  return (path) => new BetterDatabase(new Sqlite(path));
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
      get: (parameters) => statement.get(...parameters) as Row | undefined,
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
