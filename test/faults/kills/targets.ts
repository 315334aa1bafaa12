/** The databases that writers and relays are killed on. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTestDatabase as createMongo } from '../../../src/pools/mongo/test-database.js';
import { createTestDatabase as createPostgres } from '../../../src/pools/postgres/test-database.js';

export interface PreparedKills {
  readonly url: string;
  /** Where the receiver keeps what it got. */
  readonly receiver: string;
  readonly drop: () => Promise<void>;
}

export interface KillTarget {
  readonly name: string;
  /** The variable that names its server; without one it needs none. */
  readonly variable?: string;
  /** Whether one process has the database for itself: it writes and delivers, and nobody is beside it. */
  readonly alone: boolean;
  /** Kills in an ordinary run of the tests. Absent: none, since it needs a server of its own. */
  readonly shortForm?: number;
  readonly prepare: () => Promise<PreparedKills>;
}

async function onServer(variable: string, create: typeof createPostgres): Promise<PreparedKills> {
  const { url, drop } = await create(process.env[variable]!);
  return { url, receiver: url, drop };
}

async function inFolder(scheme: string): Promise<PreparedKills> {
  const folder = mkdtempSync(join(tmpdir(), 'quartermaster-kills-'));
  return {
    url: `${scheme}:${join(folder, 'data')}`,
    receiver: join(folder, 'received'),
    drop: async () => rmSync(folder, { recursive: true, force: true }),
  };
}

export const killTargets: readonly KillTarget[] = [
  {
    name: 'postgres',
    variable: 'TEST_POSTGRES_URL',
    alone: false,
    shortForm: 24,
    prepare: () => onServer('TEST_POSTGRES_URL', createPostgres),
  },
  {
    // A server of its own: what dies in the midst of a transaction may leave it, and who else uses it, waiting.
    name: 'mongo',
    variable: 'FAULT_MONGO_URL',
    alone: false,
    prepare: () => onServer('FAULT_MONGO_URL', createMongo),
  },
  { name: 'sqlite', alone: false, shortForm: 12, prepare: () => inFolder('sqlite') },
  { name: 'pglite', alone: true, shortForm: 3, prepare: () => inFolder('pglite') },
];

export const isHere = ({ variable }: KillTarget): boolean => variable === undefined || Boolean(process.env[variable]);
