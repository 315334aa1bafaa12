/** The states of agents on every database; and what every store has: events, transactions, tenants. */
import { describe, expect, test } from '@jest/globals';
import { openStorage, type StorageManager, type StoreEvent } from '../../src/index.js';
import { settled } from '../support/manual-clock.js';
import { storageTargets } from '../support/storage-targets.js';
import { useStorage } from '../support/use-storage.js';

for (const target of storageTargets('agents'))
  describe(`agents on ${target.name}`, () => {
    const storage = useStorage(target);

    const atomic = (name: string, work: () => Promise<void>): void =>
      test(name, async () => {
        if (storage().agents.capabilities.write) return work();
        await expect(storage().agents.saveState('a', 'k', {})).rejects.toMatchObject({ code: 'UNSUPPORTED' });
        expect(await storage().agents.findState('a', 'k')).toBeUndefined();
      });

    atomic('a state is saved, changed by its version, and restored', async () => {
      const { agents } = storage();
      const saved = await agents.saveState('planner', 'goal', { text: 'sail' });
      expect(saved).toMatchObject({ agentId: 'planner', key: 'goal', state: { text: 'sail' }, version: 1 });
      await agents.saveState('planner', 'goal', { text: 'row' }, { ifVersion: 1 });
      await expect(agents.saveState('planner', 'goal', { text: 'fly' }, { ifVersion: 1 })).rejects.toMatchObject({
        code: 'CONFLICT',
        message: expect.stringContaining('"goal" has version 2'),
        details: { version: 2 },
      });
      const { text }: { readonly text: string } = (await agents.getState<{ text: string }>('planner', 'goal')).state;
      expect(text).toBe('row');
      await expect(agents.saveState('planner', 'none', {}, { ifVersion: 1 })).rejects.toMatchObject({
        code: 'NOT_FOUND',
      });
      const revisions = await agents.listStateRevisions('planner', 'goal');
      expect(revisions.items.map(({ revision, state }) => [revision, state])).toEqual([[1, { text: 'sail' }]]);
      expect(await agents.restoreState('planner', 'goal', 1)).toMatchObject({ state: { text: 'sail' }, version: 3 });
      expect(await agents.getState('planner', 'goal')).toMatchObject({ state: { text: 'sail' }, version: 3 });
      await expect(agents.restoreState('planner', 'goal', 9)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    });

    atomic('states are listed by key, and are gone with their revisions when deleted', async () => {
      const { agents } = storage();
      for (const key of ['b.1', 'a', 'b.2', 'b%']) await agents.saveState('lister', key, { key });
      const page = await agents.listStates('lister', { prefix: 'b.', limit: 1 });
      expect(page.items.map(({ key }) => key)).toEqual(['b.1']);
      const rest = await agents.listStates('lister', { prefix: 'b.', limit: 5, after: page.next });
      expect(rest.items.map(({ key }) => key)).toEqual(['b.2']);
      await agents.saveState('lister', 'a', { again: true });
      await agents.deleteState('lister', 'a');
      await expect(agents.getState('lister', 'a')).rejects.toMatchObject({ code: 'NOT_FOUND' });
      expect((await agents.listStateRevisions('lister', 'a')).items).toEqual([]);
      expect(await agents.saveState('lister', 'a', {})).toMatchObject({ version: 1 });
      expect((await agents.list()).items.find(({ id }) => id === 'lister')).toMatchObject({ states: 4 });
    });

    atomic('many that save other keys of one agent at once all do', async () => {
      const { agents } = storage();
      const keys = Array.from({ length: 30 }, (_, i) => `k${i}`);
      await Promise.all(keys.map((key) => agents.saveState('crowd', key, {}, { timeout: 120_000 })));
      expect((await agents.list()).items.find(({ id }) => id === 'crowd')).toMatchObject({ states: 30 });
    });

    atomic('racers on one agent all save, and its events have no gaps', async () => {
      const told: StoreEvent[] = [];
      const stop = storage().on('agent.state_saved', (event) => event.aggregateId === 'racer' && told.push(event));
      await Promise.all(Array.from({ length: 6 }, (_, i) => storage().agents.saveState('racer', `k${i % 2}`, { i })));
      stop();
      const events = await storage().agents.listEvents('racer');
      expect(events.map(({ seq }) => seq)).toEqual([1000, 2000, 3000, 4000, 5000, 6000]);
      expect(events).toEqual([...told].sort((a, b) => a.seq - b.seq));
      const later = await storage().agents.listEvents('racer', { after: 3000, limit: 2 });
      expect(later.map(({ seq }) => seq)).toEqual([4000, 5000]);
    });

    atomic('events are watched as they come', async () => {
      const stopping = new AbortController();
      const seen: number[] = [];
      const watching = (async () => {
        for await (const { seq } of storage().agents.watchEvents('watched', { signal: stopping.signal })) {
          seen.push(seq);
          if (seen.length === 3) stopping.abort();
        }
      })();
      for (let i = 0; i < 3; i++) await storage().agents.saveState('watched', 'k', { i });
      await watching;
      expect(seen).toEqual([1000, 2000, 3000]);
    });

    test('another tenant has its own', async () => {
      const [one, two] = [storage().tenant('one').agents, storage().tenant('two').agents];
      expect(await two.findState('planner', 'goal')).toBeUndefined();
      if (!one.capabilities.write) return;
      await one.saveState('shared', 'k', { of: 'one' });
      expect(await two.findState('shared', 'k')).toBeUndefined();
      expect((await two.listStates('shared')).items).toEqual([]);
      expect(await two.listEvents('shared')).toEqual([]);
      await expect(two.deleteState('shared', 'k')).rejects.toMatchObject({ code: 'NOT_FOUND' });
      expect(await two.saveState('shared', 'k', { of: 'two' })).toMatchObject({ version: 1 });
      expect(await one.getState('shared', 'k')).toMatchObject({ state: { of: 'one' }, tenantId: 'one' });
    });

    atomic('events go by their age, of one tenant or by the policies of the retention, and states stay', async () => {
      const [one, two] = ['old one', 'old two'].map((name) => storage().tenant(name).agents);
      for (const text of ['sail', 'row']) await one!.saveState('planner', 'goal', { text });
      await two!.saveState('planner', 'goal', {});
      expect(await one!.retain({ agentEventDays: 1 })).toEqual({ events: 0 });
      expect(await one!.retain({})).toEqual({ events: 0 });
      // A tenth of a millisecond.
      const policy = { agentEventDays: 1e-9 };
      while ((await one!.retain(policy, { dryRun: true })).events < 2) await settled();
      expect(await one!.listEvents('planner')).toHaveLength(2);
      expect(await one!.retain(policy)).toEqual({ events: 2 });
      expect(await one!.listEvents('planner')).toEqual([]);
      expect(await one!.getState('planner', 'goal')).toMatchObject({ state: { text: 'row' }, version: 2 });
      expect((await one!.listStateRevisions('planner', 'goal')).items).toHaveLength(1);
      while ((await two!.retain(policy, { dryRun: true })).events < 1) await settled();
      const report = await storage().retention.run({ tenants: { 'old two': policy } });
      expect(report.agents).toEqual({
        status: 'done',
        total: { events: 1 },
        tenants: [{ tenant: 'old two', counts: { events: 1 } }],
      });
      expect(report.tasks.status).toBe('off');
      // What comes next has its place after those that are gone.
      await one!.saveState('planner', 'goal', { text: 'fly' });
      expect(await one!.listEvents('planner')).toMatchObject([{ seq: 3_000 }]);
    });

    if (target.transactions)
      test('one that is deleted leaves nothing but that, and one under its id goes on after it', async () => {
        const { agents, tasks } = storage();
        const agent = storage().agent('leaver');
        const task = await agent.createTask({ title: 'stays' });
        for (const text of ['sail', 'row']) await agent.saveState('goal', { text });
        await agent.saveState('plan', {});
        await storage().agents.saveState('leaver 2', 'goal', { text: 'stay' });
        await storage().tenant('other').agents.saveState('leaver', 'goal', { text: 'stay' });
        await expect(agents.delete('leaver', { ifVersion: 1 })).rejects.toMatchObject({ code: 'CONFLICT' });
        await agents.delete('leaver', { triggeredById: 'ann' });
        await expect(agents.delete('leaver')).rejects.toMatchObject({ code: 'NOT_FOUND' });
        expect((await agents.list()).items.map(({ id }) => id)).not.toContain('leaver');
        expect((await agents.listStates('leaver')).items).toEqual([]);
        expect((await agents.listStateRevisions('leaver', 'goal')).items).toEqual([]);
        const events = await agents.listEvents('leaver');
        expect(events).toMatchObject([{ type: 'agent.deleted', seq: 4_000, payload: { states: 2 } }]);
        expect(await tasks.get(task.id)).toMatchObject({ title: 'stays' });
        expect(await agents.getState('leaver 2', 'goal')).toMatchObject({ state: { text: 'stay' } });
        const others = storage().tenant('other').agents;
        expect(await others.listEvents('leaver')).toHaveLength(1);
        await others.delete('leaver');
        // Whoever follows its events misses none.
        await agent.saveState('goal', { text: 'back' });
        const after = await agents.listEvents('leaver', { after: events[0]!.seq });
        expect(after).toMatchObject([{ type: 'agent.state_saved', seq: 5_000 }]);
        expect((await agents.list()).items.find(({ id }) => id === 'leaver')).toMatchObject({ states: 1 });
        expect((await agents.listStateRevisions('leaver', 'goal')).items).toEqual([]);
      });
    else
      test('none is deleted, and it is told before anything is', async () => {
        await expect(storage().agents.delete('a')).rejects.toMatchObject({ code: 'UNSUPPORTED' });
      });

    if (target.transactions)
      test('in a transaction that rolls back nothing is saved and nothing told', async () => {
        const told: string[] = [];
        const stop = storage().on('*', ({ aggregateId }) => told.push(aggregateId));
        const failing = storage().transaction(async (tx) => {
          await tx.agents.saveState('undone', 'k', { at: 1 });
          expect(await tx.agents.getState('undone', 'k')).toMatchObject({ state: { at: 1 } });
          throw new Error('no');
        });
        await expect(failing).rejects.toThrow('no');
        expect(await storage().agents.findState('undone', 'k')).toBeUndefined();
        await storage().transaction(async (tx) => {
          await tx.agents.saveState('done', 'k', { at: 2 });
          expect(told).toEqual([]);
        });
        stop();
        expect(told).toEqual(['done']);
      });
  });

describe('what is given to an agent', () => {
  const wrong: [string, string, (storage: StorageManager) => Promise<unknown>][] = [
    ['agentId', 'a number', (s) => s.agents.saveState(1 as never, 'k', {})],
    ['agentId', 'an empty text', (s) => s.agents.getState('', 'k')],
    ['agentId', 'a long one', (s) => s.agents.listStates('x'.repeat(256))],
    ['key', 'a blank one', (s) => s.agents.saveState('a', ' ', {})],
    ['key', 'a long one', (s) => s.agents.findState('a', 'k'.repeat(513))],
    ['key', 'none', (s) => s.agents.deleteState('a', undefined as never)],
    ['state', 'an array', (s) => s.agents.saveState('a', 'k', [])],
    ['state', 'a function within', (s) => s.agents.saveState('a', 'k', { f: () => 1 })],
    ['revision', 'a fraction', (s) => s.agents.restoreState('a', 'k', 1.5)],
    ['options.ifVersion', 'a text', (s) => s.agents.saveState('a', 'k', {}, { ifVersion: '1' as never })],
    ['options.ifversion', 'a misspelt one', (s) => s.agents.saveState('a', 'k', {}, { ifversion: 1 } as never)],
    ['policy.agentEventDays', 'less than none', (s) => s.agents.retain({ agentEventDays: -1 })],
    ['policy.days', 'an unknown one', (s) => s.agents.retain({ days: 1 } as never)],
    ['options.dryRun', 'a text', (s) => s.agents.retain({ agentEventDays: 1 }, { dryRun: 'no' as never })],
    ['options.limit', 'too many', (s) => s.agents.listStates('a', { limit: 101 })],
    ['options.after', 'a number', (s) => s.agents.listStateRevisions('a', 'k', { after: 1 as never })],
    ['options.limit', 'none at all', (s) => s.agents.list({ limit: 0 })],
    ['agentId', 'a number, of an agent', (s) => s.agents.listStateRevisions(1 as never, 'k')],
    ['options.prefix', 'an array', (s) => s.agents.listStates('a', { prefix: [] as never })],
    ['after', 'a negative one', (s) => s.agents.listEvents('a', { after: -1 })],
  ];
  test.each(wrong)('%s: %s is refused', async (key, _what, work) => {
    await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
    // None is thrown at once: whoever catches what the promise rejects with is told.
    await expect(work(storage)).rejects.toMatchObject({
      code: 'VALIDATION',
      message: expect.stringContaining(key),
    });
    expect((await storage.agents.list()).items).toEqual([]);
  });
});
