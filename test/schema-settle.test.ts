/** A changed declaration as a host meets it: refused, mended, applied, and settled. */
import { describe, expect, test } from '@jest/globals';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defineCollection, openStorage } from '../src/index.js';
import { storageTargets } from './support/storage-targets.js';

interface Order {
  readonly total: number;
  readonly status: string;
}
const Old = defineCollection<Order>({
  name: 'orders',
  id: 'sequence',
  fields: { status: 'string' },
  indexes: [{ keys: ['status'] }],
});
const Young = defineCollection<Order>({
  name: 'orders',
  id: 'sequence',
  fields: { status: 'string', total: 'number' },
  indexes: [{ keys: ['total'] }],
});

test('a change is refused, applied once the records are changed, and settled when all processes have it', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'quartermaster-settle-'));
  const open = () =>
    openStorage(
      { databases: { main: `sqlite:${join(directory, 'data')}`, cache: 'memory:' }, tenancy: 'required' },
      { environment: {} },
    );
  try {
    {
      await using storage = await open();
      await storage
        .tenant('ann')
        .collection(Old)
        .save({ status: 'open', total: 'ten' as unknown as number });
    }
    {
      await using storage = await open();
      const refused = { code: 'MIGRATION', details: { count: 1, records: [{ tenant: 'ann', id: '1' }] } };
      await expect(storage.tenant('bob').collection(Young).count()).rejects.toMatchObject(refused);
    }
    {
      await using storage = await open();
      await storage.tenant('ann').collection(Old).replace('1', { status: 'open', total: 10 });
    }
    await using storage = await open();
    expect(
      await storage
        .tenant('ann')
        .collection(Young)
        .count({ total: { $gt: 9 } }),
    ).toBe(1);
    const index = expect.stringMatching(/^quartermaster_orders_i_/) as unknown;
    expect(await storage.settle(Young, { dryRun: true })).toEqual({ indexes: [index] });
    expect(await storage.settle(Young)).toEqual({ indexes: [index] });
    expect(await storage.settle(Young)).toEqual({ indexes: [] });
    expect(await storage.settle(Young, { on: 'cache' })).toEqual({ indexes: [] });
    await expect(storage.settle({} as typeof Old)).rejects.toMatchObject({ code: 'VALIDATION' });
  } finally {
    await rm(directory, { recursive: true });
  }
});

describe.each(storageTargets('dry runs of settle'))('a dry run on $name', ({ prepare }) => {
  const Plain = defineCollection<{ email?: string }>({ name: 'people', id: 'given' });
  const Keyed = defineCollection<{ email?: string }>({
    name: 'people',
    id: 'given',
    fields: { email: 'string' },
    unique: [{ name: 'email', fields: ['email'] }],
  });

  test('changes nothing, and what it does not know is refused', async () => {
    const { url, drop } = await prepare();
    const open = () => openStorage({ databases: { main: url, other: 'memory:' } }, { environment: {} });
    const [old, young] = [await open(), await open()];
    try {
      expect(await young.settle(Keyed, { dryRun: true })).toEqual({ indexes: [] });
      const people = old.collection(Plain);
      await people.save({ email: 'a@b' }, { id: '1' });
      expect(await young.settle(Keyed, { dryRun: true })).toEqual({ indexes: [] });
      await people.save({ email: 'a@b' }, { id: '2' });
      for (const options of [{ dryrun: true }, { dryRun: 1 as unknown as boolean }, null as unknown as object])
        await expect(young.settle(Keyed, options)).rejects.toMatchObject({ code: 'VALIDATION' });
      expect(await people.count()).toBe(2);
    } finally {
      await old.close();
      await young.close();
      await drop();
    }
  });
});
