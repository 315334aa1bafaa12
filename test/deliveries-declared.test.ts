/** Deliveries between processes of two versions, which declare one collection differently. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { defineCollection, openStorage, type StorageManager } from '../src/index.js';
import { settled } from './support/manual-clock.js';
import { Folder } from './support/sqlite/fixture.js';

interface Note {
  readonly text: string;
}
const Old = defineCollection<Note>({ name: 'notes', id: 'given' });
const New = defineCollection<Note>({ name: 'notes', id: 'given', text: ['text'] });

let folder: Folder;
beforeEach(() => {
  folder = new Folder();
});
afterEach(() => folder.remove());

const open = (deliver: boolean): Promise<StorageManager> => {
  const databases = { main: `sqlite:${folder.file('main.db')}`, side: `sqlite:${folder.file('side.db')}` };
  return openStorage({ databases, outbox: { deliver } }, { environment: {} });
};

async function leaveOld(id: string): Promise<void> {
  await using storage = await open(false);
  await storage.transaction((tx) => tx.deliver.collection(Old, { on: 'side' }).insert({ text: 'blue whale' }, { id }));
}

async function delivered(storage: StorageManager): Promise<void> {
  while ((await storage.outbox.backlog()).waiting > 0) await settled();
}

test('what another version left is written as this one declares it', async () => {
  await leaveOld('a');
  await using storage = await open(true);
  const notes = storage.collection(New, { on: 'side' });
  await delivered(storage);
  expect((await notes.query({ $text: 'whale' })).items.map(({ id }) => id)).toEqual(['a']);
});

test('a delivery that came first does not stand for the declaration that comes later', async () => {
  await leaveOld('a');
  await using storage = await open(true);
  await delivered(storage);
  const notes = storage.collection(New, { on: 'side' });
  await notes.insert({ text: 'grey whale' }, { id: 'b' });
  expect((await notes.query({ $text: 'whale' })).items.map(({ id }) => id)).toEqual(['a', 'b']);
});
