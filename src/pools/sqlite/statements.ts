/** Compiled statements by their text: those used lately, and no more than so many. */
import type { EngineDatabase, EngineStatement } from './engine.js';

export interface Prepared extends EngineStatement {
  /** Whether its rows are those that it changed. */
  readonly returning: boolean;
}

/** By how it begins: no such text of ours takes the writers' lock. */
export function onlyReads(text: string): boolean {
  return /^\s*(?:select|values|with|explain|pragma|begin$)/i.test(text);
}

/** Two generations of this many: what the older one still holds is kept when it is used again. */
const GENERATION = 128;

export class Statements {
  private recent = new Map<string, Prepared>();
  private older = new Map<string, Prepared>();

  constructor(private readonly database: EngineDatabase) {}

  get(text: string): Prepared {
    return this.recent.get(text) ?? this.keep(text, this.older.get(text) ?? this.prepare(text));
  }

  clear(): void {
    this.recent.clear();
    this.older.clear();
  }

  private keep(text: string, statement: Prepared): Prepared {
    if (this.recent.size >= GENERATION) {
      this.older = this.recent;
      this.recent = new Map();
    }
    this.recent.set(text, statement);
    return statement;
  }

  private prepare(text: string): Prepared {
    const statement = this.database.prepare(text);
    const returning =
      statement.reader && /^\s*(insert|update|delete|replace|with)\b/i.test(text) && /\breturning\b/i.test(text);
    return Object.assign(statement, { returning });
  }
}
