/** A host's versioned steps. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { inspect } from 'node:util';
import { LIBRARY } from '../src/collection/library.js';
import { serializationFailure } from '../src/errors.js';
import { defineCollection, isStorageError, openStorage, type MigrationStep, type Transaction } from '../src/index.js';
import { ALL } from '../src/filter/syntax.js';
import type { StorageManager } from '../src/manager.js';
import { MIGRATIONS } from '../src/migrations/records.js';
import { checkSchemaVersion, SCHEMA_VERSION } from '../src/migrations/schema-version.js';
import type { SqlPool } from '../src/pools/pool.js';
import { checkSteps } from '../src/migrations/steps.js';
import { ManualClock } from './support/manual-clock.js';
import { databaseOf } from './support/open-parts.js';
import { Folder } from './support/sqlite/fixture.js';
import { openManager, sharedMemory } from './support/shared-memory.js';
import { storageTargets } from './support/storage-targets.js';
import { PGLITE_IN_MEMORY } from './support/pglite-memory.js';

type Step = MigrationStep<Transaction>;
const Notes = defineCollection<{ text: string }>({ name: 'notes', id: 'given' });

const insert = (id: string) => (tx: Transaction) => tx.collection(Notes).insert({ text: id }, { id });
const erase = (id: string) => (tx: Transaction) => tx.collection(Notes).delete(id);
const step = (version: number, name: string, more: Partial<Step> = {}): Step => ({
  version,
  name,
  checksum: name,
  up: insert(name),
  down: erase(name),
  ...more,
});
const STEPS = [step(1, 'one'), step(2, 'two'), step(5, 'five')];
const ids = async (storage: StorageManager): Promise<string[]> =>
  (await storage.collection(Notes).list()).items.map(({ id }) => id);
const states = async (storage: StorageManager, steps: Step[]): Promise<string[]> =>
  (await storage.migrations(steps).status()).map(({ version, state }) => `${version} ${state}`);
const context = () => ({ now: new Date(), deadline: performance.now() + 60_000 });

async function refusal(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => 'nothing thrown',
    (error: unknown) => error,
  );
}

const HERE = storageTargets('migrations');
const TARGETS = HERE.filter(({ transactions }) => transactions);
const WITHOUT = HERE.filter(({ transactions }) => !transactions);

if (WITHOUT.length > 0)
  test.each(WITHOUT)('migrations: refused on $name, which has no transactions', async ({ prepare }) => {
    const { url, drop } = await prepare();
    const storage = await openStorage({ databases: { main: url } }, { environment: {} });
    await expect((async () => storage.migrations(STEPS))()).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    await storage.close();
    await drop();
  });

describe.each(TARGETS)('migrations on $name', ({ prepare }) => {
  let storage: StorageManager;
  let drop: () => Promise<void>;
  beforeAll(async () => {
    const { url, drop: end } = await prepare();
    drop = end;
    storage = await openStorage({ databases: { main: url } });
  });
  afterAll(async () => {
    await storage.close();
    await drop();
  });
  beforeEach(async () => {
    const { backend } = databaseOf(storage);
    await storage.collection(Notes).deleteWhere({ all: true });
    await storage.migrations([]).status();
    const sort = [{ source: 'envelope', path: ['id'], type: 'string', direction: 'asc' }] as const;
    const request = { collection: MIGRATIONS, filter: ALL, sort, limit: 1_000 };
    const kept = await backend.find(LIBRARY, request, context());
    for (const { id } of kept)
      await backend.write(LIBRARY, [{ collection: MIGRATIONS, id, kind: 'delete' }], context());
  });

  test('run in order, once', async () => {
    const report = await storage.migrations(STEPS).up();
    expect(report).toMatchObject({
      dryRun: false,
      steps: [{ version: 1 }, { version: 2 }, { version: 5, name: 'five' }],
    });
    expect(await ids(storage)).toEqual(['five', 'one', 'two']);
    expect(await storage.migrations(STEPS).up()).toEqual({ dryRun: false, steps: [] });
    const more = [...STEPS, step(6, 'six')];
    expect(await states(storage, more)).toEqual(['1 applied', '2 applied', '5 applied', '6 pending']);
    expect((await storage.migrations(more).up()).steps).toMatchObject([{ version: 6, name: 'six' }]);
    const [first] = await storage.migrations(more).status();
    expect(first!.appliedAt).toBeInstanceOf(Date);
    expect(typeof first!.duration).toBe('number');
  });

  test('stop at a version', async () => {
    expect((await storage.migrations(STEPS).up({ to: 2 })).steps).toMatchObject([{ version: 1 }, { version: 2 }]);
    expect(await states(storage, STEPS)).toEqual(['1 applied', '2 applied', '5 pending']);
  });

  test('a dry run says what would run, and runs nothing', async () => {
    const migrations = storage.migrations(STEPS);
    const steps = STEPS.map(({ version, name }) => ({ version, name }));
    expect(await migrations.up({ dryRun: true })).toEqual({ dryRun: true, steps });
    expect(await ids(storage)).toEqual([]);
    await migrations.up();
    expect(await migrations.down({ to: 1, dryRun: true })).toEqual({ dryRun: true, steps: steps.slice(1).reverse() });
    expect(await ids(storage)).toEqual(['five', 'one', 'two']);
  });

  test('a step that fails leaves nothing of its own, and the steps before it', async () => {
    const fault = new Error('no');
    const broken = step(2, 'two', {
      up: async (tx) => {
        await insert('two')(tx);
        throw fault;
      },
    });
    const error = await refusal(storage.migrations([STEPS[0]!, broken, STEPS[2]!]).up());
    expect(error).toMatchObject({
      code: 'MIGRATION',
      details: { version: 2, name: 'two', direction: 'up' },
      cause: fault,
    });
    expect(await ids(storage)).toEqual(['one']);
    expect(await states(storage, STEPS)).toEqual(['1 applied', '2 pending', '5 pending']);
    await storage.migrations(STEPS).up();
    expect(await ids(storage)).toEqual(['five', 'one', 'two']);
  });

  test('a step with a call that it does not await is rolled back, and not noted', async () => {
    let going: Promise<unknown> | undefined;
    const rewrite = async (tx: Transaction): Promise<void> => {
      await tx.collection(Notes).replace('one', { text: 'half' });
      await new Promise(setImmediate);
      await tx.collection(Notes).replace('two', { text: 'half' });
    };
    const careless: Step['up'] = async (tx) => {
      going = rewrite(tx);
      // The test's own: it must not be unhandled.
      going.catch(() => undefined);
    };
    await storage.migrations([step(1, 'one'), step(2, 'two')]).up();
    const steps = [step(1, 'one'), step(2, 'two'), step(3, 'careless', { up: careless, down: careless })];
    const cause = { code: 'VALIDATION', message: expect.stringContaining('had answered') as unknown };
    await expect(storage.migrations(steps).up()).rejects.toMatchObject({ code: 'MIGRATION', cause });
    await expect(going).rejects.toMatchObject({ code: 'CLOSED' });
    expect(await states(storage, steps)).toEqual(['1 applied', '2 applied', '3 pending']);
    const mended = [...steps.slice(0, 2), step(3, 'careless', { up: insert('three'), down: careless })];
    await storage.migrations(mended).up();
    await expect(storage.migrations(mended).down({ to: 2 })).rejects.toMatchObject({ code: 'MIGRATION', cause });
    await expect(going).rejects.toMatchObject({ code: 'CLOSED' });
    expect(await states(storage, mended)).toEqual(['1 applied', '2 applied', '3 applied']);
    expect((await storage.collection(Notes).getMany(['one', 'two'])).map((note) => note?.value.text)).toEqual([
      'one',
      'two',
    ]);
  });

  test('a step that throws tells what, and where', async () => {
    const up = (): Promise<void> => Promise.reject(new TypeError('no rows here'));
    const error = await refusal(storage.migrations([step(1, 'one', { up })]).up());
    expect(error).toMatchObject({ message: expect.stringContaining('rolled back (TypeError: no rows here)') });
    const shown = inspect(error);
    expect(shown).toContain('cause: TypeError: no rows here');
    expect(shown.match(/migrations\.test/g)).not.toBeNull();
    const driver = Object.assign(new Error('postgresql://u:hunter2@h'), { code: 'ECONNRESET' });
    const foreign = await refusal(storage.migrations([step(1, 'one', { up: () => Promise.reject(driver) })]).up());
    expect(foreign).toMatchObject({ message: expect.stringContaining('rolled back (ECONNRESET)') });
    expect(inspect(foreign)).not.toContain('hunter2');
    const refused = step(1, 'one', {
      up: (tx) =>
        tx
          .collection(Notes)
          .get('nobody')
          .then(() => undefined),
    });
    expect(await refusal(storage.migrations([refused]).up())).toMatchObject({
      message: expect.stringContaining('rolled back (NOT_FOUND: '),
    });
  });

  test('a step that always loses against other writers tells how often', async () => {
    let runs = 0;
    const up = async (): Promise<void> => {
      runs++;
      throw serializationFailure('main');
    };
    const error = await refusal(storage.migrations([step(1, 'one', { up })]).up({ timeout: 1_000 }));
    if (!isStorageError(error, 'MIGRATION')) throw error;
    const told = error.details['runs'];
    expect(error.details['code']).toBe('CONFLICT');
    expect(error.message).toContain(`each of its ${String(told)} runs lost against other writers`);
    // The time may be over before the last run comes to the step's function.
    expect(runs).toBeGreaterThan(1);
    expect([runs, runs + 1]).toContain(told);
  });

  test('down takes back, the last first', async () => {
    const order: number[] = [];
    const steps = STEPS.map((each) =>
      step(each.version, each.name, {
        down: async (tx) => {
          order.push(each.version);
          await erase(each.name)(tx);
        },
      }),
    );
    const migrations = storage.migrations(steps);
    await migrations.up();
    expect((await migrations.down({ to: 1 })).steps).toMatchObject([{ version: 5 }, { version: 2 }]);
    expect(order).toEqual([5, 2]);
    expect(await ids(storage)).toEqual(['one']);
    expect((await migrations.down({ to: 0 })).steps).toMatchObject([{ version: 1 }]);
    expect(await ids(storage)).toEqual([]);
    await migrations.up();
    expect(await ids(storage)).toEqual(['five', 'one', 'two']);
  });

  test('down runs nothing when one of the steps cannot be taken back', async () => {
    const lasting: Step = { version: 2, name: 'two', up: insert('two'), checksum: 'two' };
    const migrations = storage.migrations([STEPS[0]!, lasting, STEPS[2]!]);
    await migrations.up();
    const error = await refusal(migrations.down({ to: 0 }));
    expect(error).toMatchObject({ code: 'MIGRATION', details: { version: 2, reason: 'no-down' } });
    expect(await ids(storage)).toEqual(['five', 'one', 'two']);
    expect((await migrations.down({ to: 2 })).steps).toMatchObject([{ version: 5 }]);
  });

  test.each([
    ['changed', [step(1, 'one', { checksum: 'other' }), step(2, 'two'), step(5, 'five')], 1, '1 changed'],
    ['renamed', [step(1, 'one'), step(2, 'zwei', { checksum: 'two' }), step(5, 'five')], 2, '2 changed'],
    ['missing', [step(1, 'one'), step(5, 'five')], 2, '2 unknown'],
    ['missing', [step(1, 'one'), step(2, 'two')], 5, '5 unknown'],
    ['late', [step(1, 'one'), step(2, 'two'), step(3, 'three'), step(5, 'five')], 3, '3 late'],
  ])('%s steps are named and refused, up and down', async (reason, steps, version, state) => {
    await storage.migrations(STEPS).up();
    const migrations = storage.migrations(steps);
    const expected = { code: 'MIGRATION', details: { reason, version } };
    expect(await refusal(migrations.up())).toMatchObject(expected);
    expect(await refusal(migrations.up({ dryRun: true }))).toMatchObject(expected);
    expect(await refusal(migrations.down({ to: 1 }))).toMatchObject(expected);
    expect(await states(storage, steps)).toContain(state);
    expect(await ids(storage)).toEqual(['five', 'one', 'two']);
  });

  test('the checksum is of the source, unless one is given; the ends of lines do not count', async () => {
    const steps = (up: Step['up'], checksum?: string): Step[] => [
      { version: 1, name: 'one', up, ...(checksum === undefined ? {} : { checksum }) },
    ];
    await storage.migrations(steps(async () => 1)).up();
    expect(
      await states(
        storage,
        steps(async () => 2),
      ),
    ).toEqual(['1 changed']);
    expect(
      await states(
        storage,
        steps(async () => 1),
      ),
    ).toEqual(['1 applied']);
    expect(
      await states(
        storage,
        steps(async () => 2, 'async () =>\r\n 1'),
      ),
    ).toEqual(['1 changed']);
    expect(
      await states(
        storage,
        steps(async () => 2, 'async () => 1'),
      ),
    ).toEqual(['1 applied']);
  });

  test('two at once: each step runs once, and both find it done', async () => {
    const runs: number[] = [];
    const steps = STEPS.map((each) =>
      step(each.version, each.name, {
        up: async (tx) => {
          tx.onCommit(() => void runs.push(each.version));
          await insert(each.name)(tx);
        },
      }),
    );
    await Promise.all([storage.migrations(steps).up(), storage.migrations(steps).up()]);
    expect(runs).toEqual([1, 2, 5]);
    expect(await ids(storage)).toEqual(['five', 'one', 'two']);
  });

  test.each([
    ['no array', () => storage.migrations({} as Step[])],
    ['a version of 0', () => storage.migrations([step(0, 'a')])],
    ['a part of a version', () => storage.migrations([step(1.5, 'a')])],
    ['versions that do not grow', () => storage.migrations([step(2, 'a'), step(2, 'b')])],
    ['a name twice', () => storage.migrations([step(1, 'a'), step(2, 'a')])],
    ['a malformed name', () => storage.migrations([step(1, 'No Name')])],
    ['no work', () => storage.migrations([{ version: 1, name: 'a' } as Step])],
    ['empty SQL', () => storage.migrations([step(1, 'a', { up: ' ' })])],
    ['an unknown key', () => storage.migrations([{ ...step(1, 'a'), transaction: false } as Step])],
    ['an unknown database', () => storage.migrations([step(1, 'a')], { on: 'other' })],
    ['no options', () => storage.migrations([step(1, 'a')], null as unknown as object)],
    ['an unknown option', () => storage.migrations([step(1, 'a')], { onn: 'main' } as object)],
    ['the reserved tenant', () => storage.migrations([step(1, 'a')], { tenant: 'quartermaster' })],
  ])('%s is refused before any I/O', (_case, call) => {
    expect(call).toThrow(expect.objectContaining({ code: 'VALIDATION' }));
  });

  test('a target that no step has is refused', async () => {
    const migrations = storage.migrations(STEPS);
    expect(await refusal(migrations.up({ to: 3 }))).toMatchObject({ code: 'VALIDATION' });
    expect(await refusal(migrations.down({ to: 3 }))).toMatchObject({ code: 'VALIDATION' });
    expect(await refusal(migrations.down({} as { to: number }))).toMatchObject({ code: 'VALIDATION' });
  });

  test.each<[string, (migrations: ReturnType<StorageManager['migrations']>) => Promise<unknown>]>([
    ['a misspelt dry run', (migrations) => migrations.up({ dryrun: true } as object)],
    ['a misspelt dry run of down', (migrations) => migrations.down({ to: 0, dry_run: true } as { to: number })],
    ['a dry run of 1', (migrations) => migrations.up({ dryRun: 1 as unknown as boolean })],
    ['no options of up', (migrations) => migrations.up(null as unknown as object)],
    ['no options of down', (migrations) => migrations.down(null as unknown as { to: number })],
    ['an unknown option of the status', (migrations) => migrations.status({ to: 1 } as object)],
  ])('%s is refused, and nothing runs', async (_case, call) => {
    expect(await refusal(call(storage.migrations(STEPS)))).toMatchObject({ code: 'VALIDATION' });
    expect(await states(storage, STEPS)).toEqual(['1 pending', '2 pending', '5 pending']);
  });

  test('inside a transaction they are refused', async () => {
    const migrations = storage.migrations(STEPS);
    const error = await storage.transaction(() => refusal(migrations.up()));
    expect(error).toMatchObject({ code: 'VALIDATION' });
  });

  test("a database whose library's schema is newer is refused, and an older or new one is not", async () => {
    const { backend } = databaseOf(storage);
    await checkSchemaVersion(backend, context());
    await checkSchemaVersion(backend, context());
    const key = { collection: MIGRATIONS, id: 'schema' } as const;
    const [kept] = await backend.read(LIBRARY, [key], context());
    expect(kept!.value).toMatchObject({ step: SCHEMA_VERSION });
    await backend.write(LIBRARY, [{ ...key, kind: 'put', value: { kind: 'schema', step: 99 } }], context());
    const error = await refusal(checkSchemaVersion(backend, context()));
    expect(error).toMatchObject({ code: 'MIGRATION', details: { found: 99, known: SCHEMA_VERSION } });
    expect(String(error)).toMatch(/upgrade quartermaster/);
  });
});

describe.each(TARGETS)('SQL steps on $name', ({ prepare }) => {
  test('run in the transaction of their record, or are unsupported before any I/O', async () => {
    const { url, drop } = await prepare();
    const storage = await openStorage({ databases: { main: url } });
    const create: Step = {
      version: 1,
      name: 'create',
      up: 'CREATE TABLE items (id int PRIMARY KEY); INSERT INTO items VALUES (1)',
      down: 'DROP TABLE items',
    };
    const fill: Step = { version: 2, name: 'fill', up: 'INSERT INTO items VALUES (2)' };
    const broken: Step = { ...fill, up: `${fill.up as string}; INSERT INTO items VALUES (1)` };
    const { pool } = databaseOf(storage);
    if ('script' in pool) {
      const error = await refusal(storage.migrations([create, broken]).up());
      expect(error).toMatchObject({ code: 'MIGRATION', details: { version: 2, name: 'fill', code: 'ALREADY_EXISTS' } });
      const sql = pool as SqlPool;
      const rows = async (): Promise<unknown> => (await sql.query('SELECT id FROM items', [], context())).rows;
      expect(await rows()).toEqual([{ id: 1 }]);
      await storage.migrations([create, fill]).up();
      expect(await rows()).toEqual([{ id: 1 }, { id: 2 }]);
      await storage.migrations([create, { ...fill, down: 'DELETE FROM items WHERE id = 2' }]).down({ to: 0 });
      await expect(rows()).rejects.toThrow();
    } else {
      for (const steps of [[create], [step(1, 'a', { down: 'SELECT 1' })]])
        expect(() => storage.migrations(steps)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
    }
    await storage.close();
    await drop();
  });
});

describe('SQL steps', () => {
  test.each([
    ['COMMIT', 'CREATE TABLE a (id int); commit; SELECT 1'],
    ['ROLLBACK', '/* ; */ -- a comment\nROLLBACK'],
    ['BEGIN', 'BEGIN; SELECT 1'],
    ['START', 'START  TRANSACTION ISOLATION LEVEL SERIALIZABLE'],
    ['END', "SELECT 'a;b'; END"],
    ['PREPARE', "PREPARE TRANSACTION 'x'"],
    ['COMMIT', "SELECT E'it\\'s'; COMMIT; SELECT 'x'"],
  ])('that end or begin a transaction (%s) are refused', (word, up) => {
    expect(() => checkSteps([step(1, 'a', { up })])).toThrow(
      expect.objectContaining({ code: 'VALIDATION', message: expect.stringContaining(`a statement ${word})`) }),
    );
  });

  test.each([
    ['a text', "INSERT INTO a VALUES ('it''s; COMMIT')"],
    ['an escaped text', "SELECT e'it\\'s; COMMIT; ''; COMMIT', U&'\\0061'; SELECT 1 AS a$b"],
    ['a body', 'CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $x$ BEGIN PERFORM 1; COMMIT; END $x$'],
    ['a function of the standard', 'CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END'],
    ['a trigger', 'CREATE TRIGGER t AFTER INSERT ON a BEGIN UPDATE b SET n = 1; END'],
    ['a comment', '-- COMMIT;\nSELECT 1 /* ; COMMIT; */'],
    ['a savepoint', 'SAVEPOINT a; ROLLBACK TO a; ROLLBACK TO SAVEPOINT a; ROLLBACK WORK TO a; RELEASE a'],
    ['a name', 'SELECT "a;COMMIT" FROM commits; PREPARE q AS SELECT 1'],
  ])('with such words in %s are not', (_case, up) => {
    expect(checkSteps([step(1, 'a', { up })])).toHaveLength(1);
  });
});

for (const { name, prepare } of TARGETS.filter(({ server }) => server))
  describe(`several processes on ${name}`, () => {
    test('run each step once, and a step that fails once fails for one of them', async () => {
      const { url, drop } = await prepare();
      const managers = await Promise.all([1, 2, 3].map(() => openStorage({ databases: { main: url } })));
      const runs: number[] = [];
      let failing = true;
      const counted = STEPS.map((each) =>
        step(each.version, each.name, {
          up: async (tx) => {
            tx.onCommit(() => void runs.push(each.version));
            await insert(each.name)(tx);
            if (each.version !== 2 || !failing) return;
            failing = false;
            throw new Error('no');
          },
        }),
      );
      const outcomes = await Promise.allSettled(managers.map((manager) => manager.migrations(counted).up()));
      expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'fulfilled', 'rejected']);
      expect(runs).toEqual([1, 2, 5]);
      expect(await ids(managers[0]!)).toEqual(['five', 'one', 'two']);
      await Promise.all(managers.map((manager) => manager.close()));
      await drop();
    });
  });

/** Milliseconds that an operation may take: long enough for one that nobody keeps out. */
const OPERATION = 2_500;

/** Where a step that runs keeps everyone else out of the database. */
describe.each<[string, () => { readonly url: string; readonly end: () => void }, managers: 1 | 2]>([
  ['PGlite', () => ({ url: PGLITE_IN_MEMORY, end: () => undefined }), 1],
  ['SQLite', () => ({ url: 'sqlite::memory:', end: () => undefined }), 1],
  [
    'a file of SQLite',
    () => {
      const folder = new Folder();
      return { url: `sqlite:${folder.file()}`, end: () => folder.remove() };
    },
    2,
  ],
])('one that waits for a step on %s', (_name, prepare, count) => {
  /** Runs `work` while a step runs, until it ends it. */
  const beside = async (work: (storage: StorageManager, slow: Step, end: () => void) => Promise<void>) => {
    const { url, end } = prepare();
    const settings = { databases: { main: { url } }, lifecycle: { operationTimeout: OPERATION } };
    const first = await openStorage(settings, { environment: {} });
    const second = count === 1 ? first : await openStorage(settings, { environment: {} });
    await first.migrations([step(1, 'one')]).status({ timeout: 60_000 });
    await second.migrations([step(1, 'one')]).status({ timeout: 60_000 });
    let begun!: () => void;
    let go!: () => void;
    const running = new Promise<void>((resolve) => (begun = resolve));
    const gate = new Promise<void>((resolve) => (go = resolve));
    const slow = step(1, 'one', {
      up: () => {
        begun();
        return gate;
      },
    });
    const migrating = first.migrations([slow]).up();
    await running;
    await work(second, slow, go);
    expect((await migrating).steps).toHaveLength(1);
    await Promise.all([first.close(), second.close()]);
    end();
  };

  test('finds it done', () =>
    beside(async (storage, slow, end) => {
      const waiting = storage.migrations([slow]).up({ wait: 120_000 });
      // By then its first question has had no answer in its own time.
      setTimeout(end, OPERATION + 1_000);
      expect(await waiting).toEqual({ dryRun: false, steps: [] });
    }));

  test('gives up when it may not wait for longer', () =>
    beside(async (storage, slow, end) => {
      const given = await refusal(storage.migrations([slow]).up({ wait: 200 }));
      expect(given).toMatchObject({
        code: 'TIMEOUT',
        message: 'Another process has been migrating for longer than 200 ms',
      });
      end();
    }));
});

test('a step that takes longer than the lease keeps the lock from who waits for it', async () => {
  const clock = new ManualClock();
  const storage = await openManager('sqlite::memory:', clock);
  let go!: () => void;
  let begun!: () => void;
  const gate = new Promise<void>((resolve) => (go = resolve));
  const running = new Promise<void>((resolve) => (begun = resolve));
  const slow = step(1, 'one', {
    up: () => {
      begun();
      return gate;
    },
  });
  const both = [slow, STEPS[1]!];
  await storage.migrations(both).status();
  const migrating = storage.migrations(both).up({ timeout: 3_600_000 });
  await running;
  const waiting = storage.migrations(both).up({ wait: 3_600_000 });
  // The lease is over, and no sign of life waits for the turn.
  for (let i = 0; i < 37; i++) await clock.advance(1_000);
  go();
  for (let i = 0; i < 5; i++) await clock.advance(1_000);
  expect((await migrating).steps.map(({ version }) => version)).toEqual([1, 2]);
  expect((await waiting).steps).toEqual([]);
  await storage.close();
});

describe('two managers over one memory', () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])('run each step once (seed %d)', async (seed) => {
    const open = sharedMemory(seed);
    const managers = await Promise.all([open(), open(), open()]);
    const runs: number[] = [];
    const counted = STEPS.map((each) =>
      step(each.version, each.name, {
        up: async (tx) => {
          tx.onCommit(() => void runs.push(each.version));
          await insert(each.name)(tx);
        },
      }),
    );
    await Promise.all(managers.map((manager) => manager.migrations(counted).up()));
    expect(runs).toEqual([1, 2, 5]);
    expect(await ids(managers[0])).toEqual(['five', 'one', 'two']);
    await Promise.all(managers.map((manager) => manager.close()));
  });

  test('one that waits for longer than it may gives up', async () => {
    const clock = new ManualClock();
    const open = sharedMemory(1, clock);
    const [first, second] = [await open(), await open()];
    let go!: () => void;
    const gate = new Promise<void>((resolve) => (go = resolve));
    const slow = first.migrations([step(1, 'one', { up: () => gate })]).up();
    await clock.advance(1);
    const waiting = refusal(second.migrations([step(1, 'one')]).up({ wait: 60_000 }));
    // The lease is renewed meanwhile: 60 seconds are two leases.
    await clock.advance(61_000);
    expect(await waiting).toMatchObject({ code: 'TIMEOUT' });
    go();
    expect((await slow).steps).toHaveLength(1);
    expect(clock.timers).toBe(0);
    await Promise.all([first.close(), second.close()]);
  });

  test('a holder that was given up cannot commit, and the one after it can', async () => {
    const clock = new ManualClock();
    const open = sharedMemory(1, clock);
    const [first, second] = [await open(), await open()];
    let go!: () => void;
    const gate = new Promise<void>((resolve) => (go = resolve));
    const frozen = step(1, 'one', {
      up: async (tx) => {
        await tx.collection(Notes).insert({ text: 'of the first' }, { id: 'one' });
        await gate;
      },
    });
    const slow = refusal(first.migrations([frozen]).up({ timeout: 3_600_000 }));
    await clock.advance(1);
    // The first process is frozen: what it would renew is not renewed, and its lease runs out.
    const frozenBackend = databaseOf(first).backend;
    const write = frozenBackend.write.bind(frozenBackend);
    frozenBackend.write = () => Promise.reject(new Error('frozen'));
    await clock.advance(40_000);
    const taking = second.migrations([step(1, 'one')]).up();
    await clock.advance(1_000);
    expect((await taking).steps).toMatchObject([{ version: 1 }]);
    frozenBackend.write = write;
    go();
    await clock.advance(10_000);
    expect(await slow).toMatchObject({ code: 'MIGRATION', details: { reason: 'lock-lost' } });
    expect((await second.collection(Notes).get('one')).value.text).toBe('one');
    expect(clock.timers).toBe(0);
    await Promise.all([first.close(), second.close()]);
  });

  test('an aborted wait ends at once', async () => {
    const clock = new ManualClock();
    const open = sharedMemory(1, clock);
    const [first, second] = [await open(), await open()];
    let go!: () => void;
    const gate = new Promise<void>((resolve) => (go = resolve));
    const slow = first.migrations([step(1, 'one', { up: () => gate })]).up();
    await clock.advance(1);
    const abort = new AbortController();
    const waiting = refusal(second.migrations([step(1, 'one')]).up({ signal: abort.signal }));
    await clock.advance(1_000);
    abort.abort();
    expect(await waiting).toMatchObject({ code: 'ABORTED' });
    go();
    await slow;
    await Promise.all([first.close(), second.close()]);
  });
});

test('a tenant is asked for where one is required, unless the steps are of SQL alone', async () => {
  await using storage = await openStorage({
    databases: { main: 'memory:', sql: PGLITE_IN_MEMORY },
    stores: { default: 'main' },
    tenancy: 'required',
  });
  const sql = storage.migrations([{ version: 1, name: 'a', up: 'CREATE TABLE a (id int)' }], { on: 'sql' });
  expect((await sql.up()).steps).toHaveLength(1);
  expect(() => storage.migrations(STEPS)).toThrow(expect.objectContaining({ code: 'VALIDATION' }));
  await storage.migrations(STEPS, { tenant: 'acme' }).up();
  expect(await storage.tenant('acme').collection(Notes).count()).toBe(3);
});

test('a manager that is closed migrates no more', async () => {
  const storage = await openManager('memory:', new ManualClock());
  const migrations = storage.migrations(STEPS);
  await storage.close();
  expect(isStorageError(await refusal(migrations.up()), 'CLOSED')).toBe(true);
});
