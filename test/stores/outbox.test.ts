/** With `events.outbox` a relay gets every event of a store in the order of its aggregate, and none of what was rolled back. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { openStorage, type StorageManager, type StoreEvent, type TenantStorage } from '../../src/index.js';
import { storageTargets } from '../support/storage-targets.js';

const TARGETS = ['memory', 'pglite', 'postgres'];

/** What each store does, and the aggregates of which its events are. */
async function work(of: Pick<TenantStorage, 'tasks' | 'conversations' | 'agents'>, name: string): Promise<string[]> {
  const { tasks, conversations, agents } = of;
  const task = await tasks.create({ title: name, status: 'ready' });
  const before = await tasks.create({ title: `${name} before` });
  await tasks.addDependency(task.id, before.id);
  await tasks.transition(before.id, 'cancelled');
  await tasks.transition(task.id, 'in_progress');
  await tasks.comment(task.id, { text: 'begun' });
  const conversation = randomUUID();
  const message = await conversations.addMessage(conversation, {
    content: name,
    user: 'ann',
    events: [{ type: 'own' }],
  });
  await conversations.editMessage(conversation, message.id, { content: 'edited' });
  await conversations.renameConversation(conversation, name);
  await conversations.deleteMessage(conversation, message.id);
  const agent = `agent ${name}`;
  await agents.saveState(agent, 'a', { x: 1 });
  await agents.saveState(agent, 'b', { x: 2 });
  await agents.deleteState(agent, 'a');
  return [task.id, before.id, conversation, agent];
}

for (const target of storageTargets('events in the outbox').filter(({ name }) => TARGETS.includes(name)))
  describe(`events in the outbox on ${target.name}`, () => {
    let storage: StorageManager;
    let drop: () => Promise<void>;
    beforeAll(async () => {
      const prepared = await target.prepare();
      drop = prepared.drop;
      const settings = { databases: { main: prepared.url }, events: { outbox: true } };
      storage = await openStorage(settings, { environment: {} });
    });
    afterAll(async () => {
      await storage.close();
      await drop();
    });

    test('all of them are delivered in order, by tenant, and those rolled back never', async () => {
      const seen = new Map<string, StoreEvent[]>();
      let wake = (): void => undefined;
      const note = ({ payload, tenant, key }: { payload: unknown; tenant: string; key: string }): Promise<void> => {
        const event = payload as StoreEvent;
        expect([event.tenantId, event.aggregateId]).toEqual([tenant, key]);
        const place = `${tenant} ${key}`;
        seen.set(place, [...(seen.get(place) ?? []), event]);
        wake();
        return Promise.resolve();
      };
      const handlers = { 'events.task': note, 'events.conversation': note, 'events.agent': note };
      const relay = storage.outbox.relay({ handlers, poll: 20 });
      const names = [randomUUID(), randomUUID()];
      const told = new Map<string, string[]>();
      for (const name of names) {
        const tenant = storage.tenant(name);
        const alone = await work(tenant, 'alone');
        const together = await tenant.transaction((tx) => work(tx, 'together'));
        const undone: string[] = [];
        const failing = tenant.transaction(async (tx) => {
          undone.push(...(await work(tx, 'undone')));
          await tx.tasks.comment(alone[0]!, { text: 'undone' });
          throw new Error('no');
        });
        await expect(failing).rejects.toThrow('no');
        expect(undone).toHaveLength(4);
        // Its last event, and the only one that stays where it was deleted.
        await tenant.tasks.delete(together[0]!);
        await tenant.conversations.deleteConversation(together[2]!);
        for (const id of [...alone, ...together]) {
          const kept = [
            await tenant.tasks.listEvents(id),
            await tenant.conversations.listEvents(id),
            await tenant.agents.listEvents(id),
          ].flat();
          told.set(
            `${name} ${id}`,
            kept.map((event) => event.id),
          );
        }
        for (const id of undone.slice(0, 3)) expect(await tenant.tasks.listEvents(id)).toEqual([]);
      }
      const deleted = [...told].filter(([, ids]) => ids.length < 2).map(([place]) => place);
      expect(deleted).toHaveLength(2 * names.length);
      const isDone = (): boolean =>
        [...told].every(([place, ids]) => {
          const got = seen.get(place) ?? [];
          return deleted.includes(place) ? got.at(-1)?.type.endsWith('.deleted') : got.length >= ids.length;
        });
      await new Promise<void>((resolve) => {
        wake = () => (isDone() ? resolve() : undefined);
        wake();
      });
      await relay.stop();
      // Nothing else waits to be delivered.
      expect(await storage.outbox.backlog()).toEqual({ waiting: 0, dead: 0 });
      expect([...seen.keys()].sort()).toEqual([...told.keys()].sort());
      for (const [place, events] of seen) {
        const seqs = events.map(({ seq }) => seq);
        expect(seqs).toEqual([...seqs].sort((a, b) => a - b));
        expect(new Set(seqs).size).toBe(seqs.length);
        if (!deleted.includes(place)) expect(events.map(({ id }) => id)).toEqual(told.get(place));
        else expect(events.length).toBeGreaterThan(4);
      }
    }, 30_000);
  });
