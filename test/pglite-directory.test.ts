import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { systemClock as clock } from '../src/clock.js';
import { pglite } from '../src/pools/pglite/index.js';
import { HEARTBEAT_INTERVAL } from '../src/pools/directory-lock.js';
import type { SqlPool } from '../src/pools/pool.js';
import { ManualClock } from './support/manual-clock.js';
import { run } from './support/run.js';

const WRITER = fileURLToPath(new URL('./children/pglite-writer.js', import.meta.url));
const PANIC = fileURLToPath(new URL('./children/pglite-panic.js', import.meta.url));
const SOURCES = fileURLToPath(new URL('../src', import.meta.url));

const opening = (signal = new AbortController().signal) => ({ clock, signal });
const context = () => ({ now: clock.now(), deadline: clock.monotonic() + 60_000 });
const soon = (milliseconds = 60_000) => clock.monotonic() + milliseconds;

let directory: string;
const pools: SqlPool[] = [];

function poolOn(path: string): SqlPool {
  const pool = pglite.create(`pglite:${path}`, {}, { clock, name: 'main' });
  pools.push(pool);
  return pool;
}

async function opened(): Promise<SqlPool> {
  const pool = poolOn(directory);
  await pool.open(opening());
  return pool;
}

async function openedEmpty(): Promise<SqlPool> {
  const pool = await opened();
  await pool.script('DROP TABLE IF EXISTS item; CREATE TABLE item (id int PRIMARY KEY)', context());
  return pool;
}

beforeAll(async () => {
  directory = join(await mkdtemp(join(tmpdir(), 'pglite-')), 'new', 'database');
  await (await opened()).close(soon());
});
afterEach(async () => {
  for (const pool of pools.splice(0)) await pool.close(soon());
});
afterAll(() => rm(join(directory, '../..'), { recursive: true }));

/** The files in the directory that this process has open. */
async function openFiles(): Promise<string[]> {
  const links = await readdir('/proc/self/fd');
  const targets = await Promise.all(links.map((link) => readlink(`/proc/self/fd/${link}`).catch(() => '')));
  return targets.filter((target) => target.startsWith(directory));
}

const insert = (pool: SqlPool, id: number) => pool.query('INSERT INTO item VALUES ($1)', [id], context());
const ids = async (pool: SqlPool) =>
  (await pool.query('SELECT id FROM item ORDER BY id', [], context())).rows.map((row) => row['id']);

describe('opening and closing', () => {
  test('keeps what was written, and leaves no lock', async () => {
    const pool = await openedEmpty();
    expect((await readdir(directory)).sort()).toEqual(['data', 'lock']);
    await pool.open(opening());
    await insert(pool, 1);
    await Promise.all([pool.close(soon()), pool.close(soon())]);
    await pool.close(soon());
    expect(await readdir(directory)).toEqual(['data']);
    await expect(ids(pool)).rejects.toMatchObject({ code: 'CLOSED' });
    expect(await pool.check(AbortSignal.timeout(100))).toMatchObject({ status: 'unhealthy' });
    await pool.open(opening());
    expect(await ids(pool)).toEqual([1]);
  });

  test('many callers open it once', async () => {
    const pool = poolOn(directory);
    await Promise.all(Array.from({ length: 20 }, () => pool.open(opening())));
    expect((await pool.query('SELECT 1 AS one', [], context())).rows).toEqual([{ one: 1 }]);
  });

  test('a second pool on the directory is refused until the first is closed', async () => {
    const first = await openedEmpty();
    const second = poolOn(directory);
    await expect(second.open(opening())).rejects.toMatchObject({ code: 'UNAVAILABLE', details: { pid: process.pid } });
    await insert(first, 1);
    await first.close(soon());
    await second.open(opening());
    expect(await ids(second)).toEqual([1]);
  });

  test('closing lets the work in flight end, rejects who waits, and refuses who comes', async () => {
    const pool = await openedEmpty();
    let proceed!: () => void;
    const passed = new Promise<void>((resolve) => (proceed = resolve));
    let begun!: () => void;
    const hasBegun = new Promise<void>((resolve) => (begun = resolve));
    const work = pool.transaction({ context: context() }, async (session) => {
      begun();
      await passed;
      await pool.query('INSERT INTO item VALUES (1)', [], { ...context(), session });
    });
    await hasBegun;
    const waiting = insert(pool, 2).catch((error: unknown) => error);
    const closed = pool.close(soon());
    expect(await waiting).toMatchObject({ code: 'CLOSED' });
    await expect(insert(pool, 3)).rejects.toMatchObject({ code: 'CLOSED' });
    proceed();
    await work;
    await closed;
    await pool.open(opening());
    expect(await ids(pool)).toEqual([1]);
  });

  test('closing cuts off at its deadline what does not end, and keeps nothing of it', async () => {
    const pool = await openedEmpty();
    const work = pool
      .transaction({ context: context() }, async (session) => {
        await pool.query('INSERT INTO item VALUES (1)', [], { ...context(), session });
        await pool.close(soon(20));
        return 'kept';
      })
      .catch((error: unknown) => error);
    expect(await work).toMatchObject({ code: 'CLOSED' });
    await pool.close(soon());
    await pool.open(opening());
    expect(await ids(pool)).toEqual([]);
  });

  test('closing while it opens wins', async () => {
    const pool = poolOn(directory);
    const opens = pool.open(opening()).catch((error: unknown) => error);
    await pool.close(soon());
    expect(await opens).toMatchObject({ code: 'CLOSED' });
    expect(await readdir(directory)).toEqual(['data']);
    await pool.open(opening());
    await pool.query('SELECT 1', [], context());
  });

  test('an aborted opening leaves nothing open', async () => {
    const controller = new AbortController();
    const opens = poolOn(directory).open(opening(controller.signal));
    controller.abort();
    await expect(opens).rejects.toMatchObject({ code: 'ABORTED' });
    expect(await readdir(directory)).toEqual(['data']);
  });

  test('a lost lock refuses work, in a transaction too, and is unhealthy', async () => {
    const manual = new ManualClock();
    const options = { acquireTimeout: 60_000 };
    const pool = pglite.create(`pglite:${directory}`, options, { clock: manual, name: 'main' });
    pools.push(pool);
    const inTime = { now: manual.now(), deadline: 60_000 };
    await pool.open({ clock: manual, signal: new AbortController().signal });
    const lost = pool.transaction({ context: inTime }, async (session) => {
      await pool.query('INSERT INTO item VALUES (1)', [], { ...inTime, session });
      await writeFile(join(directory, 'lock'), '{}');
      await manual.advance(HEARTBEAT_INTERVAL);
      while ((await pool.check(new AbortController().signal)).status === 'healthy') await setImmediate();
    });
    await expect(lost).rejects.toMatchObject({ code: 'UNAVAILABLE', retryable: false });
    await expect(pool.query('SELECT 1', [], inTime)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(await pool.check(AbortSignal.timeout(100))).toMatchObject({
      status: 'unhealthy',
      message: expect.stringMatching(/was taken/) as unknown,
      final: true,
    });
    await pool.close(0);
    expect(await readFile(join(directory, 'lock'), 'utf8')).toBe('{}');
    await rm(join(directory, 'lock'));
  });
});

describe('kill -9', () => {
  test('loses no acknowledged row and leaves no half transaction', async () => {
    const acknowledged: number[] = [];
    for (let round = 0; round < 6; round++) {
      const first = round * 1_000_000;
      const child = spawn(process.execPath, ['--single-threaded-gc', WRITER, directory, String(first)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const exited = once(child, 'exit');
      // Dies at a random moment after a random number of rows.
      const enough = 1 + Math.floor(Math.random() * 400);
      let output = '';
      let killed = false;
      child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
        output += chunk;
        if (killed || output.split('\n').length <= enough) return;
        killed = true;
        setTimeout(() => child.kill('SIGKILL'), Math.random() * 20);
      });
      expect((await exited)[1]).toBe('SIGKILL');
      const lines = output.slice(0, output.lastIndexOf('\n') + 1).split('\n');
      acknowledged.push(...lines.filter((line) => line !== '').map(Number));

      const pool = await opened();
      const { rows } = await pool.query('SELECT id, pair, length(filling) AS length FROM acknowledged', [], context());
      await pool.close(soon());
      const kept = new Set(rows.map((row) => row['id']));
      expect(acknowledged.filter((id) => !kept.has(id))).toEqual([]);
      expect(rows.filter((row) => row['pair'] !== null && !kept.has(row['pair']))).toEqual([]);
      expect(rows.filter((row) => row['length'] !== 500)).toEqual([]);
    }
    expect(acknowledged.length).toBeGreaterThan(6);
  });
});

describe('a directory', () => {
  let other: string;
  beforeEach(async () => (other = await mkdtemp(join(tmpdir(), 'pglite-'))));
  afterEach(() => rm(other, { recursive: true }));

  test('that nobody closed keeps no process alive that opens it and forgets to close it, too', async () => {
    const program = `import { openStorage } from ${JSON.stringify(join(SOURCES, 'index.js'))};
      const { state } = await openStorage({ databases: { main: ${JSON.stringify(`pglite:${other}`)} } }, { environment: {} });
      console.log(state);`;
    for (let time = 0; time < 3; time++) {
      const ended = await run(process.execPath, ['--input-type=module', '-e', program], other, 60_000);
      expect(ended).toEqual({ code: 0, output: 'ready\n' });
    }
  });

  test('whose creation was cut short is created again', async () => {
    await writeFile(join(directory, 'data.creating'), '');
    await rm(join(directory, 'data/base'), { recursive: true });
    const pool = await opened();
    expect((await pool.query('SELECT 1 AS one', [], context())).rows).toEqual([{ one: 1 }]);
    expect((await readdir(directory)).sort()).toEqual(['data', 'lock']);
  });

  test('that holds other files is refused and left as it is', async () => {
    await mkdir(join(other, 'data'));
    await writeFile(join(other, 'data/letter.txt'), 'dear');
    await expect(poolOn(other).open(opening())).rejects.toMatchObject({ code: 'CONFIGURATION' });
    expect(await readdir(other)).toEqual(['data']);
    expect(await readdir(join(other, 'data'))).toEqual(['letter.txt']);
  });

  test('that is a file is refused', async () => {
    await writeFile(join(other, 'file'), '');
    await expect(poolOn(join(other, 'file')).open(opening())).rejects.toMatchObject({
      code: 'CONFIGURATION',
      details: { reason: 'EEXIST' },
    });
  });

  test('whose database cannot start leaves no lock', async () => {
    await writeFile(join(directory, 'data/PG_VERSION'), '9.6\n');
    const files = await openFiles();
    await expect(poolOn(directory).open(opening())).rejects.toMatchObject({ code: 'INTERNAL', operation: 'open' });
    expect(await openFiles()).toEqual(files);
    expect(await readdir(directory)).toEqual(['data']);
  });

  test('whose engine panics refuses work at once, is unhealthy, closes, and lets the process end', async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [PANIC, other], { timeout: 150_000 });
    expect(JSON.parse(stdout)).toEqual({ outcomes: ['INTERNAL', 'UNAVAILABLE', 'UNAVAILABLE'], status: 'unhealthy' });
    expect(await readdir(other)).toEqual(['data']);
  });

  test('needs the packages, and says which', async () => {
    await cp(SOURCES, join(other, 'src'), { recursive: true });
    await writeFile(join(other, 'package.json'), '{"type":"module"}');
    const script = `
      import { pglite } from './src/pools/pglite/index.js';
      import { systemClock as clock } from './src/clock.js';
      const pool = pglite.create('pglite:./db', {}, { clock, name: 'main' });
      await pool.open({ clock, signal: new AbortController().signal }).catch((e) => console.log(JSON.stringify(e)));`;
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
      cwd: other,
    });
    expect(JSON.parse(stdout)).toMatchObject({
      code: 'DEPENDENCY_MISSING',
      message: expect.stringMatching(/npm install @electric-sql\/pglite/) as unknown,
    });
  });
});
