/** Code of the host's that an operation waits for: nobody waits for it beyond the operation's bounds. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { defineCollection, openStorage, type CallOptions, type StorageManager } from '../src/index.js';

interface Note {
  readonly n: number;
}

let storage: StorageManager;
beforeAll(async () => {
  storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
});
afterAll(() => storage.close());

const never = (): Promise<never> => new Promise(() => undefined);
const Hanging: StandardSchemaV1<Note, Note> = { '~standard': { version: 1, vendor: 'test', validate: never } };
const Notes = defineCollection<Note>({ name: 'notes', fields: { n: 'number' }, id: 'given' });
const Checked = defineCollection({ name: 'checked', schema: Hanging, id: 'given' });

const hanging: Readonly<Record<string, (options: CallOptions) => Promise<unknown>>> = {
  'the function of update': (options) => storage.collection(Notes).update('a', never, options),
  'the function of kv.update': (options) => storage.kv.update('hanging', 'a', never, options),
  'the schema of save': (options) => storage.collection(Checked).save({ n: 1 }, { id: 'a', ...options }),
  'the schema of saveMany': (options) => storage.collection(Checked).saveMany([{ id: 'a', value: { n: 1 } }], options),
  'the schema of replace': (options) => storage.collection(Checked).replace('a', { n: 1 }, options),
  'the schema of a patch that may insert': (options) =>
    storage.collection(Checked).patch('a', { set: { n: 2 } }, { orInsert: { n: 1 }, ...options }),
};

test.each(Object.keys(hanging))('%s is waited for until the deadline, or the signal', async (name) => {
  await storage.collection(Notes).save({ n: 1 }, { id: 'a' });
  const call = hanging[name]!;
  await expect(call({ timeout: 20 })).rejects.toMatchObject({ code: 'TIMEOUT' });
  const abort = new AbortController();
  const aborted = call({ signal: abort.signal });
  abort.abort();
  await expect(aborted).rejects.toMatchObject({ code: 'ABORTED' });
  expect(await storage.collection(Notes).get('a')).toMatchObject({ version: expect.any(Number), value: { n: 1 } });
  expect(await storage.collection(Checked).count()).toBe(0);
});

test('a loop over records ends with the signal, within a page too', async () => {
  const notes = storage.collection(Notes);
  await notes.saveMany(Array.from({ length: 20 }, (_, n) => ({ id: `each ${n}`, value: { n } })));
  const abort = new AbortController();
  let met = 0;
  const loop = async (): Promise<void> => {
    for await (const { id } of notes.each({}, { signal: abort.signal })) {
      expect(id).toBeDefined();
      if (++met === 5) abort.abort();
    }
  };
  await expect(loop()).rejects.toMatchObject({ code: 'ABORTED', operation: 'each' });
  expect(met).toBe(5);
});

test('what a function has forgotten to return, and a record in the place of its value, are told as that', async () => {
  const dated = { n: 1, createdAt: '2026-01-01' };
  const { id } = await storage.collection(Notes).save(dated, { id: 'dated' });
  const forgetful = storage.collection(Notes).update(id, (() => undefined) as never);
  await expect(forgetful).rejects.toThrow(
    'change(): expected the value that is to be stored: return it, got undefined',
  );
  const record = await storage.collection(Notes).get(id);
  await expect(storage.collection(Notes).save(record as never, { id: 'dated' })).rejects.toThrow(
    'value: expected a value, which of a stored record is its `value`, got an object',
  );
});
