/** Parts of a transaction that are undone by themselves. */
import assert from 'node:assert/strict';
import { systemClock } from '../clock.js';
import type { Session } from '../component.js';
import { isSerializationFailure, isStorageError, serializationFailure } from '../errors.js';
import { defineCollection } from '../collection/definition.js';
import type { Collection } from '../collection/collection.js';
import { collectionOn, contextAt, freshTenant, type OpenRecords } from './record-target.js';
import type { TestRunner } from './runner.js';

interface Room {
  beds: number;
  door?: string;
}

const Rooms = defineCollection<Room>({
  name: 'test_rooms',
  fields: { beds: 'number', door: 'string' },
  unique: [{ name: 'byDoor', fields: ['door'] }],
  id: 'given',
});

/** What a test does in a transaction; `part` runs its function behind a savepoint. */
interface Inside {
  readonly rooms: Collection<Room>;
  readonly session: Session;
  readonly part: <R>(work: () => Promise<R>) => Promise<R>;
}

export function describeSavepoints(runner: TestRunner, target: () => OpenRecords): void {
  const fault = new Error('changed my mind');
  const isFault = (error: unknown): boolean => error === fault;
  const fail = (): never => {
    throw fault;
  };
  const outside = async (tenant: string): Promise<Collection<Room>> => {
    await target().backend.ensure([Rooms.schema], contextAt(new Date()));
    return collectionOn(target().backend, Rooms, tenant);
  };
  const once = <R>(tenant: string, work: (inside: Inside) => Promise<R>): Promise<R> => {
    const { backend } = target();
    return backend.pool.transaction({ context: contextAt(new Date()) }, (session) =>
      work({
        rooms: collectionOn(backend, Rooms, tenant, systemClock, session),
        session,
        part: (inner) => backend.pool.savepoint(session, inner),
      }),
    );
  };
  const within = async <R>(tenant: string, work: (inside: Inside) => Promise<R>): Promise<R> => {
    for (let attempt = 0; ; attempt++) {
      try {
        return await once(tenant, work);
      } catch (error) {
        if (!isSerializationFailure(error) || attempt === 20) throw error;
      }
    }
  };
  const ids = async (rooms: Collection<Room>): Promise<string[]> => (await rooms.list()).items.map(({ id }) => id);
  /** A test of savepoints, which a backend without them must refuse. */
  const test = (name: string, body: () => Promise<void>): void =>
    runner.test(name, async () => {
      const { capabilities } = target().backend;
      if (capabilities.savepoints) return body();
      const tenant = freshTenant();
      const rooms = await outside(tenant);
      let ran = false;
      if (capabilities.transactions === 'none')
        return assert.rejects(
          once(tenant, async () => fail()),
          (error) => isStorageError(error, 'UNSUPPORTED'),
        );
      await within(tenant, async ({ rooms: inside, part }) => {
        await inside.insert({ beds: 1 }, { id: 'a' });
        await assert.rejects(
          part(() => Promise.resolve((ran = true))),
          (error) => isStorageError(error, 'UNSUPPORTED'),
        );
        await inside.insert({ beds: 1 }, { id: 'b' });
      });
      assert.equal(ran, false);
      assert.deepEqual(await ids(rooms), ['a', 'b']);
    });

  runner.describe('savepoints', () => {
    test('a part that throws is undone alone, one that does not is kept', async () => {
      const tenant = freshTenant();
      const rooms = await outside(tenant);
      await rooms.insert({ beds: 1 }, { id: 'old' });
      const seen = await within(tenant, async ({ rooms: inside, part }) => {
        await inside.insert({ beds: 1 }, { id: 'before' });
        await assert.rejects(
          part(async () => {
            await inside.replace('old', { beds: 9 });
            await inside.delete('before');
            await inside.insert({ beds: 1 }, { id: 'undone' });
            fail();
          }),
          isFault,
        );
        assert.deepEqual(await ids(inside), ['before', 'old']);
        const result = await part(() => inside.insert({ beds: 2 }, { id: 'kept' }));
        await inside.insert({ beds: 3 }, { id: 'z' });
        return result.version;
      });
      assert.equal(seen, 1);
      assert.deepEqual(await ids(rooms), ['before', 'kept', 'old', 'z']);
      assert.equal((await rooms.get('old')).value.beds, 1);
    });

    test('what a part kept goes with the whole', async () => {
      const tenant = freshTenant();
      const rooms = await outside(tenant);
      await assert.rejects(
        within(tenant, async ({ rooms: inside, part }) => {
          await part(() => inside.insert({ beds: 1 }, { id: 'a' }));
          fail();
        }),
        isFault,
      );
      assert.deepEqual(await ids(rooms), []);
    });

    test('parts are within parts, and one after another', async () => {
      const tenant = freshTenant();
      const rooms = await outside(tenant);
      await within(tenant, async ({ rooms: inside, part }) => {
        const add = (id: string): Promise<unknown> => inside.insert({ beds: 1 }, { id });
        await part(async () => {
          await part(() => add('a'));
          await assert.rejects(
            part(async () => {
              await add('b');
              await part(() => add('c'));
              fail();
            }),
            isFault,
          );
          await part(async () => undefined);
          await add('d');
        });
        await assert.rejects(
          part(async () => {
            await part(() => add('e'));
            await assert.rejects(part(fail), isFault);
            fail();
          }),
          isFault,
        );
        await assert.rejects(part(fail), isFault);
        await part(() => add('f'));
      });
      assert.deepEqual(await ids(rooms), ['a', 'd', 'f']);
    });

    test('a broken constraint fails its part, even if that goes on, and not the whole', async () => {
      const tenant = freshTenant();
      const rooms = await outside(tenant);
      await rooms.insert({ beds: 1, door: 'red' }, { id: 'a' });
      await within(tenant, async ({ rooms: inside, session, part }) => {
        await inside.insert({ beds: 1 }, { id: 'b' });
        for (const isCaught of [false, true])
          await assert.rejects(
            part(async () => {
              await inside.insert({ beds: 1 }, { id: 'c' });
              const broken = inside.insert({ beds: 1, door: 'red' }, { id: 'd' });
              await (isCaught ? broken.catch(() => undefined) : broken);
            }),
            (error) => isStorageError(error, 'ALREADY_EXISTS') && error.details['constraint'] === 'byDoor',
          );
        assert.equal(session.failure, undefined);
        await part(() => inside.insert({ beds: 1, door: 'blue' }, { id: 'e' }));
      });
      assert.deepEqual(await ids(rooms), ['a', 'b', 'e']);
    });

    test('batches and loads in a part are undone with it', async () => {
      const tenant = freshTenant();
      const rooms = await outside(tenant);
      await rooms.insert({ beds: 1 }, { id: 'a' });
      await within(tenant, async ({ rooms: inside, part }) => {
        const some = (prefix: string) =>
          Array.from({ length: 20 }, (_, i) => ({ id: `${prefix}${i}`, value: { beds: i } }));
        await assert.rejects(
          part(async () => {
            await inside.saveMany(some('b'));
            await inside.load(some('c'));
            await inside.updateWhere({ beds: { $gte: 0 } }, { increment: { beds: 5 } });
            await inside.deleteWhere({ beds: { $gt: 8 } });
            fail();
          }),
          isFault,
        );
        await part(() => inside.saveMany(some('d').slice(0, 2)));
      });
      assert.deepEqual(await ids(rooms), ['a', 'd0', 'd1']);
    });

    test('a conflict in a part is one of the whole, whatever the function makes of it', async () => {
      const tenant = freshTenant();
      const rooms = await outside(tenant);
      await assert.rejects(
        once(tenant, async ({ rooms: inside, part }) => {
          await inside.insert({ beds: 1 }, { id: 'a' });
          const lost = serializationFailure('test');
          await part(() => Promise.reject(lost)).catch(() => undefined);
        }),
        isSerializationFailure,
      );
      assert.deepEqual(await ids(rooms), []);
    });

    test('what a part has read counts as read also when it is undone', async () => {
      const tenant = freshTenant();
      const rooms = await outside(tenant);
      await rooms.saveMany(['a', 'b'].map((id) => ({ id, value: { beds: 1 } })));
      // Each may take a bed only while there are 2, and learns that in a part that it gives up.
      const take = (id: 'a' | 'b'): Promise<void> =>
        within(tenant, async ({ rooms: inside, part }) => {
          let free = 0;
          const given = part(async () => {
            free = await inside.count({ beds: { $gt: 0 } });
            await inside.replace(id, { beds: 7 });
            fail();
          });
          await given.catch((error: unknown) => {
            // It may lose already here.
            if (error !== fault) throw error;
          });
          if (free === 2) await inside.increment(id, 'beds', -1);
        });
      await Promise.all([take('a'), take('b')]);
      assert.equal(await rooms.count({ beds: 0 }), 1);
    });

    test('a session that has ended is refused', async () => {
      const tenant = freshTenant();
      await outside(tenant);
      let late: Inside | undefined;
      await within(tenant, async (inside) => {
        late = inside;
      });
      let ran = false;
      await assert.rejects(
        late!.part(() => Promise.resolve((ran = true))),
        (error) => isStorageError(error, 'CLOSED'),
      );
      assert.equal(ran, false);
    });
  });
}
