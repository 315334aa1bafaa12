/** What a caller writes into what a store gave it is the caller's own: no later call, and no other tenant, is given it. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { openStorage, type StorageManager, type TenantStorage } from '../../src/index.js';

let storage: StorageManager;
beforeAll(async () => {
  storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
});
afterAll(() => storage.close());

const WRITTEN = 'written by a caller';

/** Into every object there is; one that is frozen refuses it. */
function writeInto(value: unknown): void {
  if (typeof value !== 'object' || value === null || value instanceof Date) return;
  Object.values(value).forEach(writeInto);
  if (!Object.isFrozen(value)) Object.assign(value, { [WRITTEN]: true });
}

/** Everything that can be made with what is usual: each gives what was made. */
async function makeAll({ jobs, tasks, conversations, agents, kv }: TenantStorage): Promise<Record<string, unknown>> {
  const job = await jobs.create({ name: 'made' });
  const task = await tasks.create({ title: 'made' });
  const other = await tasks.create({ title: 'other' });
  const conversationId = randomUUID();
  const conversation = await conversations.ensureConversation(conversationId);
  const message = await conversations.addMessage(conversationId, { content: 'hello' });
  return {
    job,
    schedule: await jobs.upsertSchedule(job.id, { expression: '@yearly' }),
    noted: await jobs.createRun(job.id),
    enqueued: await jobs.enqueueRun(job.id),
    several: await jobs.enqueueRuns(job.id, [{}, {}]),
    link: await jobs.linkTask(job.id, task.id),
    jobAssignment: await jobs.assign(job.id, randomUUID()),
    jobEvent: await jobs.recordEvent(job.id, { eventType: 'noted' }),
    stored: await jobs.get(job.id, { withRuns: true, withSchedule: true, withEvents: true }),
    task,
    dependency: await tasks.addDependency(task.id, other.id),
    taskAssignment: await tasks.assign(task.id, randomUUID()),
    taskEvent: await tasks.recordEvent(task.id, { eventType: 'noted' }),
    storedTask: await tasks.get(task.id, { withEvents: true }),
    conversation,
    message,
    user: await conversations.ensureUser('ann'),
    profile: await conversations.upsertUserProfile('ann', {}),
    session: await conversations.ensureSession(randomUUID(), {}),
    state: await agents.saveState('agent', 'key', {}),
    entry: await kv.set('n', 'k', {}),
    read: await kv.get('n', 'k'),
  };
}

test('what is written into what every store gives is in nothing that is made later', async () => {
  const made = await makeAll(storage.tenant('first'));
  writeInto(made);
  expect(JSON.stringify(made.job)).toContain(WRITTEN);
  for (const tenant of ['second', 'third']) {
    const later = await makeAll(storage.tenant(tenant));
    for (const [name, value] of Object.entries(later))
      expect({ name, text: JSON.stringify(value) }).not.toEqual({ name, text: expect.stringContaining(WRITTEN) });
    writeInto(later);
  }
});
