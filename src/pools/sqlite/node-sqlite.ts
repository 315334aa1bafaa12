/** Node's own SQLite as an engine, and the package of the same interface for versions of Node without it. */
import type { EngineDatabase, EngineStatement, OpenEngine, Row } from './engine.js';

interface NodeStatement {
  get(...parameters: readonly unknown[]): unknown;
  all(...parameters: readonly unknown[]): unknown[];
  run(...parameters: readonly unknown[]): { readonly changes: number | bigint };
  columns(): readonly unknown[];
}

interface NodeDatabase {
  readonly isTransaction: boolean;
  prepare(text: string): NodeStatement;
  exec(text: string): void;
  close(): void;
}

interface NodeSqlite {
  readonly DatabaseSync: new (path: string) => NodeDatabase;
}

/** @throws when this Node has no SQLite, or one that cannot tell whether it is in a transaction. */
export function loadNodeSqlite(): OpenEngine {
  const library = process.getBuiltinModule('node:sqlite') as NodeSqlite | undefined;
  if (library === undefined) throw new Error(`Node ${process.version} has no node:sqlite; it came with 22.5`);
  return openWith(library);
}

/** @throws when the package, or its compiled part, is not there. */
export async function loadPhotostructure(): Promise<OpenEngine> {
  return openWith(await import('@photostructure/sqlite'));
}

function openWith({ DatabaseSync }: NodeSqlite): OpenEngine {
  for (const property of ['isTransaction'] as const)
    if (!(property in DatabaseSync.prototype)) throw new Error(`Its SQLite has no ${property}`);
  return (path) => new NodeEngine(new DatabaseSync(path));
}

class NodeEngine implements EngineDatabase {
  constructor(readonly client: NodeDatabase) {}

  get inTransaction(): boolean {
    return this.client.isTransaction;
  }

  prepare(text: string): EngineStatement {
    const statement = this.client.prepare(text);
    return {
      reader: statement.columns().length > 0,
      get: (parameters) => statement.get(...parameters) as Row | undefined,
      all: (parameters) => statement.all(...parameters) as Row[],
      run: (parameters) => Number(statement.run(...parameters).changes),
    };
  }

  exec(text: string): void {
    this.client.exec(text);
  }

  close(): void {
    this.client.close();
  }
}
