/** Collections: the catalogue, and the tables made and dropped under one lock. */
import type { OperationContext } from '../../component.js';
import { serializationFailure, StorageError, UnsupportedError } from '../../errors.js';
import type { PostgresDialectPool } from '../../pools/pool.js';
import { checkSameSchema } from '../codec/schema.js';
import type { VectorSchema } from '../provider.js';
import { LOST_RACES, sqlState } from './fault.js';
import { precisionOf } from './precision.js';
import { CATALOGUE, createCatalogue, createTable, tableName } from './table.js';

/** Iterative scans, which keep filtered searches whole, came with it. */
const MIN_VERSION = [0, 8] as const;

const MAX_ATTEMPTS = 5;
const DATATYPE_MISMATCH = '42804';
const UNDEFINED_TABLE = '42P01';

const NOT_INSTALLED = 'The server does not have the extension pgvector; install it there';
/** Insufficient privilege; no such file, and not available, which is how a server says that it has no such extension. */
const EXTENSION_FAULTS: ReadonlyMap<string, string> = new Map([
  ['42501', 'This user may not create the extension pgvector; have an administrator run: CREATE EXTENSION vector'],
  ['58P01', NOT_INSTALLED],
  ['0A000', NOT_INSTALLED],
]);

export class Collections {
  /** Whether the catalogue is known to be there: a query of a table that is not would end the caller's transaction. */
  private catalogued = false;
  private oid: number | undefined;

  constructor(
    private readonly pool: PostgresDialectPool,
    private readonly component: string,
  ) {}

  async create(schema: VectorSchema, context: OperationContext): Promise<void> {
    precisionOf(schema, this.component);
    // Before the lock, which a transaction that makes or deletes any collection keeps until its end.
    const made = await this.describe(schema.name, context);
    if (made !== undefined) return checkSameSchema(made, schema, this.component);
    await this.locked(context, async (inside) => {
      const known = await this.describe(schema.name, inside);
      if (known !== undefined) return checkSameSchema(known, schema, this.component);
      // Two first users of the extension, the schema or the catalogue collide too, hence one lock for all.
      await this.createExtension(inside);
      await this.pool.script(createCatalogue(), inside);
      await this.checkVersion(inside);
      await this.checkLanguage(schema, inside);
      await this.pool.script(createTable(schema), inside);
      await this.pool.query(
        `INSERT INTO ${CATALOGUE} (name, dimension, metric, fields, index, text) ` +
          'VALUES ($1::text, $2::integer, $3::text, $4::text::jsonb, $5::text::jsonb, $6::text::jsonb)',
        [
          schema.name,
          schema.dimension,
          schema.metric,
          JSON.stringify(schema.fields),
          JSON.stringify(schema.index),
          schema.text === undefined ? null : JSON.stringify(schema.text),
        ],
        inside,
      );
    });
  }

  async describe(name: string, context: OperationContext): Promise<VectorSchema | undefined> {
    const rows = await this.ask(`SELECT * FROM ${CATALOGUE} WHERE name = $1::text`, [name], context);
    if (rows[0] === undefined) return undefined;
    const { text, ...schema } = rows[0] as unknown as Omit<VectorSchema, 'text'> & {
      readonly text?: VectorSchema['text'] | null;
    };
    return text === null || text === undefined ? schema : { ...schema, text };
  }

  /**
   * Runs `work` with the oid of the type `vector`, where the pool takes its binary form. It is asked for once; an extension
   * that was dropped and made anew has another.
   */
  async withVectorOid<R>(context: OperationContext, work: (oid: number | undefined) => Promise<R>): Promise<R> {
    if (!this.pool.binary) return work(undefined);
    const known = this.oid;
    try {
      return await work((this.oid ??= await this.vectorOid(context)));
    } catch (error) {
      if (sqlState(error) !== DATATYPE_MISMATCH || known === undefined) throw error;
      this.oid = undefined;
      if (context.session !== undefined) throw error;
      return work((this.oid = await this.vectorOid(context)));
    }
  }

  private async vectorOid(context: OperationContext): Promise<number> {
    const { rows } = await this.pool.query("SELECT 'vector'::regtype::oid::bigint AS oid", [], context);
    return Number(rows[0]?.['oid']);
  }

  async list(context: OperationContext): Promise<string[]> {
    const rows = await this.ask(`SELECT name FROM ${CATALOGUE} ORDER BY name`, [], context);
    return rows.map((row) => row['name'] as string);
  }

  async delete(name: string, context: OperationContext): Promise<boolean> {
    if ((await this.describe(name, context)) === undefined) return false;
    let deleted = false;
    await this.locked(context, async (inside) => {
      const schema = await this.describe(name, inside);
      deleted = schema !== undefined;
      if (schema === undefined) return;
      await this.pool.query(`DELETE FROM ${CATALOGUE} WHERE name = $1::text`, [name], inside);
      await this.pool.script(`DROP TABLE IF EXISTS ${tableName(schema)}`, inside);
    });
    return deleted;
  }

  private async locked(context: OperationContext, work: (inside: OperationContext) => Promise<void>): Promise<void> {
    const run = async (inside: OperationContext): Promise<void> => {
      const lock = 'SELECT pg_advisory_xact_lock(hashtextextended($1::text, 0))';
      await this.pool.query(lock, ['quartermaster.vectors'], inside);
      await work(inside);
    };
    if (context.session !== undefined) return run(context);
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.pool.transaction({ context }, (session) => run({ ...context, session }));
      } catch (error) {
        // The transaction's snapshot is older than its lock: what the holder before committed shows as a conflict.
        if (attempt === MAX_ATTEMPTS || !LOST_RACES.has(sqlState(error) ?? '')) throw error;
      }
    }
  }

  /** Rows of the catalogue; none where there is no catalogue. */
  private async ask(
    text: string,
    values: readonly string[],
    context: OperationContext,
  ): Promise<readonly Readonly<Record<string, unknown>>[]> {
    if (!(await this.hasCatalogue(context))) return [];
    try {
      return (await this.pool.query(text, values, context)).rows;
    } catch (error) {
      if (sqlState(error) !== UNDEFINED_TABLE) throw error;
      // It was there: somebody has dropped it, or put back a copy from before it.
      this.catalogued = false;
      if (context.session !== undefined) throw error;
      return [];
    }
  }

  private async hasCatalogue(context: OperationContext): Promise<boolean> {
    if (this.catalogued) return true;
    const { rows } = await this.pool.query('SELECT to_regclass($1::text) IS NOT NULL AS found', [CATALOGUE], context);
    const found = rows[0]?.['found'] === true;
    // A transaction that made it may be rolled back.
    if (context.session === undefined) this.catalogued = found;
    return found;
  }

  private async createExtension(context: OperationContext): Promise<void> {
    try {
      await this.pool.script('CREATE EXTENSION IF NOT EXISTS vector', context);
    } catch (error) {
      const message = EXTENSION_FAULTS.get(sqlState(error) ?? '');
      if (message === undefined) throw error;
      throw new StorageError('CONFIGURATION', message, { component: this.component, cause: error });
    }
  }

  private async checkLanguage({ text }: VectorSchema, context: OperationContext): Promise<void> {
    if (text === undefined) return;
    // By its name alone, as statements say it: one that is outside the search path is not found.
    const find =
      'SELECT 1 FROM pg_catalog.pg_ts_config WHERE cfgname = $1::text AND pg_catalog.pg_ts_config_is_visible(oid)';
    if ((await this.pool.query(find, [text.language], context)).rows.length > 0) return;
    throw new UnsupportedError(`text.language: the server has no text search configuration ${text.language}`, {
      component: this.component,
      details: { language: text.language },
    });
  }

  private async checkVersion(context: OperationContext): Promise<void> {
    const text = "SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'vector'";
    const { rows } = await this.pool.query(text, [], context);
    // The extension is there: another transaction has made it since this one's snapshot.
    if (rows[0] === undefined) throw serializationFailure(this.component);
    const version = String(rows[0]['extversion']);
    const [major = 0, minor = 0] = version.split('.').map(Number);
    if (major > MIN_VERSION[0] || (major === MIN_VERSION[0] && minor >= MIN_VERSION[1])) return;
    throw new UnsupportedError(`pgvector ${version} is too old: ${MIN_VERSION.join('.')} or later is needed`, {
      component: this.component,
      details: { version },
    });
  }
}
