/** Node's own SQLite as an engine, and the package of the same interface for versions of Node without it. */
import { UnsupportedError } from '../../errors.js';
import type { BoundValue, EngineDatabase, EngineStatement, OpenEngine, Row } from './engine.js';

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
  /** What `progress` throws ends it. */
  backup(database: NodeDatabase, path: string, options: { readonly progress: () => void }): Promise<unknown>;
  readonly DatabaseSync: new (path: string) => NodeDatabase;
}

type Check = (parameters: readonly BoundValue[]) => void;

/** @throws when this Node has no SQLite. */
export function loadNodeSqlite(): OpenEngine {
  const library = process.getBuiltinModule('node:sqlite') as NodeSqlite | undefined;
  if (library === undefined) throw new Error(`Node ${process.version} has no node:sqlite`);
  return openWith(library, () => undefined);
}

/** @throws when the package, or its compiled part, is not there. */
export async function loadPhotostructure(): Promise<OpenEngine> {
  // Caught for bundlers alone, which take the import then for one of a package that may not be there.
  const library = await import('@photostructure/sqlite').catch((cause: unknown) => {
    throw cause;
  });
  return openWith(library, checkTiny);
}

/** It takes what is next to an integer for that integer: these would be bound as 0. */
function checkTiny(parameters: readonly BoundValue[]): void {
  for (const value of parameters)
    if (typeof value === 'number' && value > 0 && value < Number.EPSILON)
      throw new UnsupportedError(`@photostructure/sqlite cannot bind a number between 0 and ${Number.EPSILON}`);
}

function openWith(library: NodeSqlite, check: Check): OpenEngine {
  return (path) => new NodeEngine(new library.DatabaseSync(path), library, check);
}

class NodeEngine implements EngineDatabase {
  constructor(
    readonly client: NodeDatabase,
    private readonly library: NodeSqlite,
    private readonly check: Check,
  ) {}

  get inTransaction(): boolean {
    return this.client.isTransaction;
  }

  prepare(text: string): EngineStatement {
    const statement = this.client.prepare(text);
    const { check } = this;
    return {
      reader: statement.columns().length > 0,
      get(parameters) {
        check(parameters);
        return statement.get(...parameters) as Row | undefined;
      },
      all(parameters) {
        check(parameters);
        return statement.all(...parameters) as Row[];
      },
      run(parameters) {
        check(parameters);
        return Number(statement.run(...parameters).changes);
      },
    };
  }

  exec(text: string): void {
    this.client.exec(text);
  }

  async backup(path: string, between: () => void): Promise<void> {
    await this.library.backup(this.client, path, { progress: between });
  }

  close(): void {
    this.client.close();
  }
}
