/** Stores where every call needs a tenant: one that was forgotten is refused before anything is made for it. */
import { expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { openStorage, type StorageManager } from '../../src/index.js';
import { storageTargets } from '../support/storage-targets.js';

const CALLS: Readonly<Record<string, (storage: StorageManager) => Promise<unknown>>> = {
  'tasks.create': ({ tasks }) => tasks.create({ title: 'x' }),
  'tasks.list': ({ tasks }) => tasks.list(),
  'tasks.retain': ({ tasks }) => tasks.retain({ taskDays: 1 }),
  'kv.get': ({ kv }) => kv.get('a', 'b'),
  'kv.set': ({ kv }) => kv.set('a', 'b', 1),
  'kv.listNamespaces': ({ kv }) => kv.listNamespaces(),
  'agents.findState': ({ agents }) => agents.findState('a', 'b'),
  'agents.watchEvents': ({ agents }) => agents.watchEvents('a').next(),
  'conversations.addMessage': ({ conversations }) => conversations.addMessage(randomUUID(), { content: 'x' }),
  'conversations.listConversations': ({ conversations }) => conversations.listConversations(),
  'conversations.statistics': ({ conversations }) => conversations.statistics(),
  'jobs.create': ({ jobs }) => jobs.create({ name: 'x' }),
  'jobs.stats': ({ jobs }) => jobs.stats(),
};

for (const target of storageTargets('required tenants').filter(({ transactions }) => transactions))
  test(`a forgotten tenant leaves no tables on ${target.name}`, async () => {
    const { url, drop } = await target.prepare();
    const storage = await openStorage({ databases: { main: url }, tenancy: 'required' }, { environment: {} });
    try {
      for (const [name, call] of Object.entries(CALLS))
        await expect(call(storage).then(() => name)).rejects.toMatchObject({ code: 'VALIDATION' });
      expect((await storage.operations().stats()).collections).toEqual([]);
      // What is every tenant's needs none.
      expect(await storage.conversations.listTenants()).toEqual([]);
      if (storage.jobs.capabilities.claims) expect(await storage.jobs.claimDue({ workerId: 'w' })).toEqual([]);
      expect((await storage.operations().stats()).collections).not.toEqual([]);
    } finally {
      await storage.close();
      await drop();
    }
  });
