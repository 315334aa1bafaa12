/** What a decision may not do, whatever its store. */
import { expect, test } from '@jest/globals';
import { openStorage } from '../../src/index.js';
import { defineOwnCollection } from '../../src/collection/definition.js';
import { ManualClock } from '../support/manual-clock.js';
import { openManager } from '../support/shared-memory.js';

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

test('what is more than a batch may have is refused before anything is written, by its bytes', async () => {
  await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
  const { agents } = storage;
  const decided = (text: string): Promise<void> =>
    agents['decide']('large', {}, (unit) => {
      for (let i = 0; i < 9; i++) unit.put(NOTES, `${i}`, { text });
      return Promise.resolve();
    });
  await expect(decided('x'.repeat(1_000_000))).rejects.toMatchObject({
    code: 'VALIDATION',
    message: expect.stringContaining('at most 8388608 bytes'),
  });
  expect(await agents['reading']('none', {}, (unit) => unit.find(NOTES, '0'))).toBeUndefined();
  // Bytes, not what they could be at most.
  await decided('x'.repeat(900_000));
  expect(await agents['reading']('one', {}, (unit) => unit.find(NOTES, '8'))).toMatchObject({ version: 1 });
});

test('a decision that is always too late is made again until its time is over', async () => {
  const clock = new ManualClock();
  await using storage = await openManager('memory:', clock);
  const { agents } = storage;
  let tries = 0;
  const change = (lost: number, timeout: number): Promise<void> =>
    agents['decide']('count', { timeout }, async (unit) => {
      const known = await unit.find(NOTES, 'n');
      if (++tries <= lost)
        await agents['decide']('faster', {}, (other) => Promise.resolve(void other.put(NOTES, 'n', { text: 'other' })));
      if (known === undefined) unit.insert(NOTES, { text: 'own' }, { id: 'n' });
      else unit.replace(NOTES, known, { text: 'own' });
    });
  const changed = change(11, 60_000);
  await clock.advance(30_000);
  await changed;
  expect(tries).toBe(12);
  expect(await agents['reading']('one', {}, (unit) => unit.find(NOTES, 'n'))).toMatchObject({ value: { text: 'own' } });
  const refused = expect(change(Infinity, 100)).rejects.toMatchObject({ code: 'CONFLICT', retryable: true });
  await clock.advance(100);
  await refused;
});
