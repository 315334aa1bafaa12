/** What a decision may not do, whatever its store. */
import { expect, test } from '@jest/globals';
import { openStorage } from '../../src/index.js';
import { defineOwnCollection } from '../../src/collection/definition.js';

const NOTES = defineOwnCollection<{ readonly text: string }>({ name: 'qm_notes', id: 'given' });

test('a record that is inserted twice is refused before anything is written', async () => {
  await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
  const { agents } = storage;
  const decided = agents['decide']('twice', {}, (unit) => {
    unit.insert(NOTES, { text: 'one' }, { id: 'a' });
    unit.insert(NOTES, { text: 'two' }, { id: 'a' });
    return Promise.resolve();
  });
  await expect(decided).rejects.toMatchObject({ code: 'INTERNAL' });
  expect(await agents['reading']('none', {}, (unit) => unit.find(NOTES, 'a'))).toBeUndefined();
});
