/**
 * What the stores' lists cost does not grow with what is there: each is read from a range of an index, in that index's order,
 * and what is read is given. The planner may not sort nor read a table here, so that a plan which does either shows that no
 * index has the order, and one with a filter that none answers the whole condition.
 */
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { openStorage, type StorageManager } from '../../src/index.js';
import type { SqlPool } from '../../src/pools/pool.js';
import { databaseOf } from '../support/open-parts.js';
import { PGLITE_IN_MEMORY } from '../support/pglite-memory.js';

const ID = '01900000-0000-7000-8000-000000000001';
const AT = new Date('2026-01-01T00:00:00.000Z');
const PLANS = ['enable_sort', 'enable_seqscan', 'enable_bitmapscan'];

const LIVE =
  /^\(?\(expires_at > '[^']*'::timestamp with time zone\)( AND CASE WHEN \(\(value -> '\w+'::text\) IS NULL\) THEN true ELSE false END\))?$/;

type Operations = Readonly<Record<string, (storage: StorageManager) => Promise<unknown>>>;

const TASKS: Operations = {
  list: ({ tasks }) => tasks.list(),
  'by update': ({ tasks }) => tasks.list({ sort: 'updatedAt' }),
  'by priority': ({ tasks }) => tasks.list({ sort: 'priority' }),
  'by priority, the least first': ({ tasks }) => tasks.list({ sort: 'priority', order: 'asc' }),
  'by due time': ({ tasks }) => tasks.list({ sort: 'dueAt' }),
  'by due time, the last first': ({ tasks }) => tasks.list({ sort: 'dueAt', order: 'desc' }),
  'of a status': ({ tasks }) => tasks.list({ status: 'ready' }),
  'of an owner': ({ tasks }) => tasks.list({ ownerId: ID }),
  'of an owner and a status': ({ tasks }) => tasks.list({ ownerId: ID, status: 'ready' }),
  'of a conversation': ({ tasks }) => tasks.list({ conversationId: ID }),
  'of a parent': ({ tasks }) => tasks.list({ parentTaskId: ID }),
  subtasks: ({ tasks }) => tasks.listSubtasks(ID),
  ready: ({ tasks }) => tasks.ready(),
  assignments: ({ tasks }) => tasks.listAssignments(),
  'assignments of a task': ({ tasks }) => tasks.listAssignments({ taskId: ID }),
  'assignments of a status': ({ tasks }) => tasks.listAssignments({ status: 'declined' }),
  'assignments of a person and a status': ({ tasks }) => tasks.listAssignments({ assigneeId: ID, status: 'pending' }),
  dependencies: ({ tasks }) => tasks.listDependencies(ID),
  dependents: ({ tasks }) => tasks.listDependents(ID),
  events: ({ tasks }) => tasks.listEvents(ID),
};

const JOBS: Operations = {
  list: ({ jobs }) => jobs.list(),
  'of a status': ({ jobs }) => jobs.list({ status: 'failed' }),
  'of an owner and a status': ({ jobs }) => jobs.list({ ownerId: ID, status: 'failed' }),
  runs: ({ jobs }) => jobs.listRuns(job),
  claims: ({ jobs }) => jobs.claimDue({ workerId: 'w' }),
  'claims of which more are due': async ({ jobs }) => {
    await jobs.enqueueRuns(job, [{}, {}, {}]);
    for (let left = 3; left > 0; left--) expect(await jobs.claimDue({ workerId: 'w' })).toHaveLength(1);
  },
  events: ({ jobs }) => jobs.listEvents(ID),
};

const CONVERSATIONS: Operations = {
  list: ({ conversations }) => conversations.listConversations(),
  'by activity': ({ conversations }) => conversations.listConversations({ by: 'activeAt' }),
  'of a user': ({ conversations }) => conversations.listConversations({ userId: ID }),
  messages: ({ conversations }) => conversations.listMessages(ID, { includeDeleted: true }),
  'messages backwards': ({ conversations }) =>
    conversations.listMessages(ID, { includeDeleted: true, direction: 'backward' }),
  'messages by time': ({ conversations }) => conversations.queryMessages({ includeDeleted: true }),
  'messages of a user by time': ({ conversations }) =>
    conversations.queryMessages({ userId: ID, includeDeleted: true }),
  'events of a message': ({ conversations }) => conversations.listMessageEvents({ messageId: ID }),
  events: ({ conversations }) => conversations.listEvents(ID),
  'what a soft deletion takes': ({ conversations }) => conversations.retain({ softDeleteAfterDays: 1 }),
  'what a purge takes': ({ conversations }) =>
    conversations.retain({ softDeleteGraceDays: 1, messageRetentionDays: 9 }),
};

const OTHERS: Operations = {
  'kv entries': ({ kv }) => kv.list('space'),
  'kv entries of a prefix': ({ kv }) => kv.list('space', { prefix: 'a' }),
  states: ({ agents }) => agents.listStates('agent'),
  'states of a prefix': ({ agents }) => agents.listStates('agent', { prefix: 'a' }),
  'revisions of a state': ({ agents }) => agents.listStateRevisions('agent', 'key'),
  'dead letters': ({ outbox }) => outbox.list({ state: 'dead' }),
  'what the outbox keeps': ({ outbox }) => outbox.list(),
};

let storage: StorageManager;
let pool: SqlPool;
let job: string;

beforeAll(async () => {
  storage = await openStorage({ databases: { main: PGLITE_IN_MEMORY } });
  pool = databaseOf(storage).pool as SqlPool;
  job = (await storage.jobs.create({ name: 'job' })).id;
});

afterAll(() => storage.close());

/** The plans of what an operation reads. */
async function plansOf(work: () => Promise<unknown>): Promise<string[]> {
  // Its tables are made.
  await work();
  const query = pool.query.bind(pool);
  const context = { now: AT, deadline: Infinity };
  const plans: string[] = [];
  const set = (value: string): string => PLANS.map((plan) => `SET ${plan} = ${value}`).join(';');
  await pool.script(set('off'), context);
  const asked = jest.spyOn(pool, 'query').mockImplementation(async (text, parameters, inside, options) => {
    if (/^(SELECT|WITH picked AS) .* FROM "?quartermaster/s.test(text)) {
      const { rows } = await query(`EXPLAIN ${text}`, parameters, inside);
      plans.push(rows.map((row) => row['QUERY PLAN']).join('\n'));
    }
    return query(text, parameters, inside, options);
  });
  try {
    await work();
    return plans;
  } finally {
    asked.mockRestore();
    await pool.script(set('on'), context);
  }
}

describe.each(Object.entries({ tasks: TASKS, jobs: JOBS, conversations: CONVERSATIONS, others: OTHERS }))(
  '%s',
  (_store, operations) => {
    test.each(Object.keys(operations))('%s', async (name) => {
      const plans = await plansOf(() => operations[name]!(storage));
      expect(plans.length).toBeGreaterThan(0);
      for (const plan of plans) {
        expect(plan).toMatch(/Index (Only )?Scan/);
        expect(plan).not.toMatch(/(^|-> {2})Sort\b|Seq Scan/m);
        // Of those that are equal by the keys of an index over every tenant.
        if (plan.includes('Incremental Sort')) expect(plan).not.toMatch(/tenant = '/);
        // Of what is met, only what has expired is not given; and null, where missing is meant; and a run with no room left.
        for (const [, filter] of plan.matchAll(/Filter: (.*)/g))
          if (!/octet_length/.test(filter!)) expect(filter).toMatch(LIVE);
      }
    });
  },
);
