/** What a host has in its hands shows what it names, and nothing of what it stands on. */
import { expect, test } from '@jest/globals';
import { inspect } from 'node:util';
import { defineCollection, openStorage } from '../src/index.js';

const Notes = defineCollection({ name: 'notes' });

test('every handle is shown in few words', async () => {
  await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
  const tenant = storage.tenant('t');
  await using lock = await tenant.locks().acquire('door');
  await using relay = storage.outbox.relay({ handlers: { mail: () => undefined } });
  const shown: object[] = [
    tenant,
    tenant.collection(Notes),
    tenant.locks(),
    tenant.sequences(),
    tenant.agent('a'),
    lock,
    relay,
  ];
  for (const store of [tenant.kv, tenant.tasks, tenant.jobs, tenant.conversations, tenant.agents]) shown.push(store);
  const inside = await storage.transaction(async (tx) => [inspect(tx), inspect(tx.outbox)]);
  const texts = [...[...shown, storage.outbox, storage.retention].map((handle) => inspect(handle)), ...inside];
  for (const text of texts) expect(text).toMatch(/^\w+ \{[^]{0,200}\}$/);
  expect(JSON.parse(JSON.stringify(lock))).toEqual({
    name: 'door',
    token: lock.token,
    expiresAt: lock.expiresAt.toJSON(),
  });
  expect(JSON.parse(JSON.stringify(relay))).toEqual(relay.status());
  expect(JSON.parse(JSON.stringify(tenant.agent('a')))).toEqual({ id: 'a', ownerId: tenant.agent('a').ownerId });
});
