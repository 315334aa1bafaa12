import { afterEach, describe, expect, test } from '@jest/globals';
import { Container } from 'inversify';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { storageModule, TOKENS } from '../src/container.js';
import {
  defineCollection,
  getStorageManager,
  isStorageError,
  openStorage,
  registerVectorProvider,
  resetStorageManager,
  type ErrorCode,
} from '../src/index.js';
import { StorageManager } from '../src/manager.js';
import { withOperations } from './support/provider-class.js';
import { registerScriptedPool } from './support/scripted-pool.js';

const script = registerScriptedPool('scripted');
const Notes = defineCollection<{ text: string }>({ name: 'notes', fields: { text: 'string' } });
const SCRIPTED = { databases: { main: 'scripted:' } };
const SECRET = 'hunter2-the-secret';

async function codeOf(work: Promise<unknown> | (() => unknown)): Promise<ErrorCode | undefined> {
  try {
    await (typeof work === 'function' ? work() : work);
    return undefined;
  } catch (error) {
    if (!isStorageError(error)) throw error;
    return error.code;
  }
}

afterEach(async () => {
  await resetStorageManager();
  expect(script.open).toBe(0);
  script.opened = 0;
  script.failures.length = 0;
});

describe("the process's manager", () => {
  test('a hundred callers open it once', async () => {
    const all = await Promise.all(Array.from({ length: 100 }, () => getStorageManager(SCRIPTED)));
    expect(new Set(all).size).toBe(1);
    expect(script.opened).toBe(1);
    expect(all[0]!.state).toBe('ready');
  });

  test('a failed opening is not remembered, and leaves nothing open', async () => {
    script.failures.push(new Error(`cannot connect with ${SECRET}`));
    const settings = { databases: { first: 'scripted:a', main: 'scripted:b' }, stores: { default: 'main' } };
    const failed = await getStorageManager(settings).catch((error: unknown) => error);
    expect(isStorageError(failed, 'UNAVAILABLE')).toBe(true);
    expect((failed as Error).message).not.toContain(SECRET);
    expect(script.open).toBe(0);
    expect((await getStorageManager(settings)).state).toBe('ready');
  });

  test('settings that are wrong are not remembered either', async () => {
    expect(await codeOf(getStorageManager({ tenancy: 'perhaps' as never }))).toBe('CONFIGURATION');
    expect((await getStorageManager(SCRIPTED)).state).toBe('ready');
  });

  test('other settings than the live one are refused, the same are not', async () => {
    const manager = await getStorageManager(SCRIPTED);
    expect(await codeOf(getStorageManager({ databases: { main: 'scripted:other' } }))).toBe('CONFIGURATION');
    expect(await getStorageManager({ databases: { main: { url: 'scripted:' } } })).toBe(manager);
    expect(await getStorageManager()).toBe(manager);
    await manager.close();
    const other = await getStorageManager({ databases: { main: 'scripted:other' } });
    expect([other === manager, other.state]).toEqual([false, 'ready']);
  });

  test('of calls at once with other settings each gets its own manager or a refusal', async () => {
    const [first, second] = ['scripted:first', 'scripted:second'].map((main) => ({ databases: { main } }));
    const settle = (...calls: Promise<StorageManager>[]) =>
      Promise.all(
        calls.map((call) =>
          call.then(
            ({ settings }) => settings.databases['main']!.url,
            (error: unknown) => (isStorageError(error) ? [error.code, error.details['faults'] !== undefined] : error),
          ),
        ),
      );
    const refused = ['CONFIGURATION', false];
    await (await getStorageManager(SCRIPTED)).close();
    // Both look for settings files: which of them is answered first is the file system's to say.
    const oneOf = (one: string): unknown[] => [
      [one, refused],
      [refused, 'scripted:second'],
    ];
    const outcome = await settle(getStorageManager(first), getStorageManager(second));
    expect(oneOf('scripted:first')).toContainEqual(outcome);
    await (await getStorageManager()).close();
    const calls = [getStorageManager(SCRIPTED), getStorageManager(second)];
    const resetting = resetStorageManager();
    expect(oneOf('scripted:')).toContainEqual(await settle(...calls));
    await resetting;
    await resetStorageManager();
    const wrong = getStorageManager({ tenancy: 'perhaps' as never });
    expect(await settle(wrong, getStorageManager(first))).toEqual([['CONFIGURATION', true], 'scripted:first']);
  });

  test('a tenant that cannot be one is refused as the default', async () => {
    for (const defaultTenant of ['quartermaster', 'a\u0000', 'x'.repeat(256)]) {
      const settings = { ...SCRIPTED, defaultTenant, tenancy: 'perhaps' as never };
      await expect(openStorage(settings)).rejects.toMatchObject({
        code: 'CONFIGURATION',
        details: {
          faults: [
            { key: 'tenancy' },
            { key: 'defaultTenant', expected: expect.any(String) as unknown, source: 'the settings passed in' },
          ],
        },
      });
    }
  });

  test.each([
    [null, 'options'],
    ['x', 'options'],
    [{ enviroment: {} }, 'options.enviroment'],
    [{ settings: SCRIPTED }, 'options.settings'],
    [{ environment: null }, 'options.environment'],
    [{ environment: 'x' }, 'options.environment'],
    [{ environment: { DATABASE_URL: 5 } }, 'options.environment.DATABASE_URL'],
    [{ environment: { DATABASE_URL: null } }, 'options.environment.DATABASE_URL'],
    [{ file: null }, 'options.file'],
    [{ directory: 5 }, 'options.directory'],
  ])('options of %j are refused, and nothing is opened', async (options, key) => {
    const refused = { code: 'VALIDATION', details: { key } };
    await expect(openStorage(SCRIPTED, options as never)).rejects.toMatchObject(refused);
    await expect(getStorageManager(SCRIPTED, options as never)).rejects.toMatchObject(refused);
    expect(script.opened).toBe(0);
  });

  test('a misspelt option of the module is refused', async () => {
    expect(await codeOf(() => storageModule({ setings: SCRIPTED } as never))).toBe('VALIDATION');
    expect(await codeOf(() => storageModule(null as never))).toBe('VALIDATION');
  });

  test('a close while it opens wins', async () => {
    let letOpen!: () => void;
    script.gate = new Promise((resolve) => (letOpen = resolve));
    const container = new Container();
    container.load(storageModule({ settings: SCRIPTED }));
    const manager = await container.getAsync(StorageManager);
    const opening = codeOf(manager.open());
    const closing = manager.close();
    letOpen();
    await closing;
    expect(await opening).toBe('CLOSED');
    expect(manager.state).toBe('closed');
    script.gate = Promise.resolve();
  });

  test('it opens again after a close; handles of the former opening are closed', async () => {
    const manager = await getStorageManager(SCRIPTED);
    const notes = manager.collection(Notes);
    await notes.save({ text: 'a' });
    await manager.close();
    expect(await codeOf(notes.save({ text: 'b' }))).toBe('CLOSED');
    expect(await codeOf(() => manager.collection(Notes))).toBe('CLOSED');
    await manager.open();
    expect(await codeOf(notes.save({ text: 'b' }))).toBe('CLOSED');
    expect((await manager.collection(Notes).save({ text: 'c' })).version).toBe(1);
  });

  test('await using closes', async () => {
    let kept: StorageManager;
    {
      await using manager = await openStorage(SCRIPTED);
      kept = manager;
      expect(script.open).toBe(1);
    }
    expect(kept.state).toBe('closed');
  });

  test('a host loads it into its own inversify container', async () => {
    const container = new Container();
    container.load(storageModule({ settings: SCRIPTED }));
    const manager = await container.getAsync(StorageManager);
    expect(await container.getAsync(StorageManager)).toBe(manager);
    // Read from the files once.
    expect(await container.getAsync(TOKENS.settings)).toBe(manager.settings);
    await manager.open();
    expect(manager.state).toBe('ready');
    await manager.close();
  });

  test('tells its state as it changes', async () => {
    const manager = await openStorage(SCRIPTED);
    const states: string[] = [];
    manager.on('state', (state) => states.push(state));
    await manager.close();
    await manager.open();
    await manager.close();
    expect(states).toEqual(['draining', 'closed', 'opening', 'ready', 'draining', 'closed']);
  });

  test('listens to its own events and to what can be an event of a store', async () => {
    await using manager = await openStorage(SCRIPTED);
    const on = manager.on.bind(manager) as (event: unknown, listener: () => void) => () => void;
    for (const event of ['state', 'error', '*', 'task.created', 'task.of_the_host_2', 'conversation.message'])
      on(event, () => undefined)();
    for (const event of ['x.y.z', 'task.created.', 'tasks.created', 'task.', 'task', '.', 'State', 'toString', 5, null])
      expect(await codeOf(() => on(event, () => undefined))).toBe('VALIDATION');
  });

  test('a function that listens twice is told twice, and each end ends one', async () => {
    await using manager = await openStorage(SCRIPTED);
    const told: unknown[] = [];
    const listener = (of: unknown): void => void told.push(of);
    const [first] = [manager.on('state', listener), manager.on('state', listener)];
    const [begun] = [manager.on('agent.state_saved', listener), manager.on('agent.state_saved', listener)];
    await manager.agents.saveState('a', 'k', {});
    expect(told.splice(0)).toHaveLength(2);
    for (const end of [first, first, begun, begun]) end();
    await manager.agents.saveState('b', 'k', {});
    expect(told.splice(0)).toHaveLength(1);
    await manager.close();
    expect(told).toEqual(['draining', 'closed']);
  });

  test('a close waits for work in flight, then ends', async () => {
    const manager = await openStorage(SCRIPTED);
    let finish!: () => void;
    const held = new Promise<void>((resolve) => (finish = resolve));
    const done: string[] = [];
    const work = manager.transaction(async () => {
      await held;
    });
    void work.then(() => done.push('work'));
    const closing = manager.close().then(() => done.push('closed'));
    expect(await codeOf(manager.transaction(async () => undefined))).toBe('CLOSED');
    expect((await manager.ready()).ok).toBe(false);
    finish();
    await closing;
    expect(done).toEqual(['work', 'closed']);
  });
});

describe('what it shows', () => {
  test('no secret, however it is shown', async () => {
    const settings = { databases: { main: { url: `scripted://user:${SECRET}@host/db?key=${SECRET}` } } };
    await using manager = await openStorage(settings);
    const tenant = manager.tenant('t');
    const shown = [
      manager,
      manager.settings,
      await manager.health(),
      tenant,
      manager.collection(Notes),
      manager.vectors(),
    ];
    for (const part of shown) expect(inspect(part, { depth: 20, showHidden: false })).not.toContain(SECRET);
    for (const part of [manager, manager.settings, await manager.health()])
      expect(JSON.stringify(part)).not.toContain(SECRET);
  });

  test('health names every component, and what is wrong', async () => {
    await using manager = await openStorage({ ...SCRIPTED, health: { cache: 0 } });
    const well = await manager.health();
    expect(well.overall).toBe('healthy');
    expect(Object.keys(well.components).sort()).toEqual([
      'main',
      'outbox:main',
      'records:main',
      'sweeper:main',
      'vectors:memory',
    ]);
    script.checkFailure = new Error(`no route, password ${SECRET}`);
    const ill = await manager.health();
    script.checkFailure = undefined;
    expect([ill.overall, ill.components['main']?.status]).toEqual(['unhealthy', 'unhealthy']);
    expect(JSON.stringify(ill)).not.toContain(SECRET);
    expect((await manager.ready()).ok).toBe(true);
  });

  test('the probes, over HTTP', async () => {
    const manager = await openStorage({ ...SCRIPTED, health: { cache: 0 } });
    const server = createServer(manager.probes()).listen(0);
    const { port } = server.address() as AddressInfo;
    const status = async (path: string): Promise<number> => (await fetch(`http://127.0.0.1:${port}${path}`)).status;
    expect(await Promise.all(['/livez', '/readyz', '/startupz', '/health', '/other'].map(status))).toEqual([
      200, 200, 200, 200, 404,
    ]);
    await manager.close();
    expect(await Promise.all(['/livez', '/readyz', '/startupz'].map(status))).toEqual([200, 503, 200]);
    server.close();
    server.closeAllConnections();
  });
});

describe('tenants', () => {
  test('each has its own records, under the same ids', async () => {
    await using manager = await openStorage(SCRIPTED);
    const [a, b] = [manager.tenant('a').collection(Notes), manager.tenant('b').collection(Notes)];
    await a.insert({ text: 'of a' }, { id: 'x' });
    await b.insert({ text: 'of b' }, { id: 'x' });
    expect((await a.get('x')).value.text).toBe('of a');
    expect(await manager.collection(Notes).has('x')).toBe(false);
  });

  test("required: the manager's own stores refuse", async () => {
    await using manager = await openStorage({ ...SCRIPTED, tenancy: 'required' });
    expect(await codeOf(() => manager.collection(Notes))).toBe('VALIDATION');
    expect(await codeOf(manager.vectors().count('docs'))).toBe('VALIDATION');
    expect(await codeOf(manager.transaction(async () => undefined))).toBe('VALIDATION');
    expect((await manager.tenant('t').collection(Notes).save({ text: 'x' })).version).toBe(1);
  });

  test('names that cannot be tenants', async () => {
    await using manager = await openStorage(SCRIPTED);
    for (const id of ['', ' ', ' a', 'a\u0000', 'quartermaster', 'x'.repeat(256), 5, null, undefined, '\ud800'])
      expect(await codeOf(() => manager.tenant(id as string))).toBe('VALIDATION');
  });
});

describe('faulty parts', () => {
  test('an optional database that fails leaves the rest ready', async () => {
    // Also when it is tried again in the background.
    script.failures.push(...Array.from({ length: 100 }, () => new Error('down')));
    const settings = {
      databases: { extra: { url: 'scripted:x', critical: false }, main: 'memory:' },
      stores: { default: 'main' },
    };
    await using manager = await openStorage(settings);
    expect((await manager.health()).overall).toBe('degraded');
    expect(await manager.collection(Notes).count()).toBe(0);
    const notYet = {
      code: 'UNAVAILABLE',
      retryable: true,
      message: expect.stringContaining('extra has not opened yet') as unknown,
    };
    await expect(manager.collection(Notes, { on: 'extra' }).count()).rejects.toMatchObject(notYet);
    await expect(manager.transaction(async () => undefined, { on: 'extra' })).rejects.toMatchObject(notYet);
    expect(await codeOf(() => manager.sql('extra'))).toBe('UNAVAILABLE');
  });

  test('an optional database leaves the manager ready also where it is the default, with its vectors', async () => {
    const main = { url: 'pglite:/dev/null/none', critical: false };
    await using storage = await openStorage({ databases: { main } }, { environment: {} });
    expect(storage.state).toBe('ready');
    const { overall, components } = await storage.health();
    expect([overall, components['main']?.status, components['vectors:pgvector']?.status]).toEqual([
      'degraded',
      'unhealthy',
      'unhealthy',
    ]);
    expect(await codeOf(storage.kv.get('a', 'b'))).toBe('UNAVAILABLE');
    expect(await codeOf(storage.vectors().count('docs'))).toBe('UNAVAILABLE');
  });

  test('a provider that throws when it is made, opened or checked is named', async () => {
    let where = '';
    class Faulty {
      readonly name = 'vectors:faulty';
      constructor() {
        if (where === 'made') throw new Error(SECRET);
      }
      async open(): Promise<void> {
        if (where === 'opened') throw new Error(SECRET);
      }
      check(): never {
        throw new Error(SECRET);
      }
      async close(): Promise<void> {}
    }
    registerVectorProvider('faulty')(withOperations(Faulty) as never);
    for (where of ['made', 'opened']) {
      const error = await openStorage({ databases: { main: 'memory:' } }).catch((reason: unknown) => reason);
      expect(isStorageError(error)).toBe(true);
      expect((error as Error).message).toContain('vectors:faulty');
      expect((error as Error).message).not.toContain(SECRET);
    }
    where = 'checked';
    await using manager = await openStorage({ databases: { main: 'memory:' } });
    const { components } = await manager.health();
    expect(components['vectors:faulty']).toMatchObject({ status: 'unhealthy' });
    expect(JSON.stringify(components)).not.toContain(SECRET);
  });

  test('an unknown provider lists the known ones; a name that is taken is refused', async () => {
    await using manager = await openStorage({
      databases: { main: 'memory:' },
      vectors: { faulty: { critical: false } },
    });
    expect(() => manager.vectors('nobody')).toThrow(
      /"nobody" is open, only .*memory: one is opened that is vectors\.default, or has settings of its own under vectors\.nobody/,
    );
    expect(() => registerVectorProvider('PgVector')(class {} as never)).toThrow(/two|already|registered/i);
  });

  test('an unknown database, a definition that is none, one name for two definitions', async () => {
    await using manager = await openStorage({ databases: { main: 'memory:' } });
    expect(await codeOf(() => manager.collection(Notes, { on: 'nowhere' }))).toBe('VALIDATION');
    expect(await codeOf(() => manager.collection({ name: 'notes' } as never))).toBe('VALIDATION');
    manager.collection(Notes);
    const other = defineCollection<{ text: number }>({ name: 'notes', fields: { text: 'number' } });
    expect(await codeOf(() => manager.collection(other))).toBe('VALIDATION');
  });
});
