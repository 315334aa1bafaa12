/** What tasks refuse before any I/O: every argument of every operation. */
import { expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import type { TaskStore } from '../../src/index.js';
import { describeTasks, refused } from '../support/task-storage.js';

type Refusal = readonly [bad: unknown, key: string];
type Operation = Exclude<
  { [K in keyof TaskStore]: TaskStore[K] extends (...given: never[]) => Promise<unknown> ? K : never }[keyof TaskStore],
  'listEvents'
>;

const long = (length: number): string => 'x'.repeat(length);
const each = (key: string, ...bad: readonly unknown[]): Refusal[] => bad.map((value) => [value, key]);
const members = (at: string, table: Readonly<Record<string, readonly unknown[]>>): Refusal[] =>
  Object.entries(table).flatMap(([name, bad]) => bad.map((value): Refusal => [{ [name]: value }, `${at}.${name}`]));

const UUIDS = [5, 'x', '', null, {}, '0190b3c4-0000-7000-8000-00000000000g'];
const OPTIONAL_UUIDS = [5, 'x', {}, []];
const TEXTS = [5, {}, 'a\u0000b', '\ud800'];
const [ID, OTHER] = [randomUUID(), randomUUID()];
const OPTIONS = each('options', 5, 'x', null, []);
const call: Refusal[] = [
  ...OPTIONS,
  ...members('options', { nope: [1] }),
  [{ timeout: -1 }, 'timeout'],
  [{ signal: 5 }, 'signal'],
];
const actor = members('options', { triggeredById: [...TEXTS, long(256)], sessionId: [...TEXTS, long(256)] });
const change = [...call, ...actor, ...members('options', { ifVersion: [0, -1, 1.5, '1', null, NaN] })];
const keyed = [...call, ...actor, ...members('options', { idempotencyKey: [...TEXTS, long(256)] })];
const page = [...call, ...members('options', { limit: [0, 101, 1.5, '5'], after: [5, {}] })];
const ROLES = [...TEXTS, long(65), 'ж'.repeat(65)];
const TIMES = [5, 'x', '2020-13-01', new Date(NaN), {}];
const fields = {
  description: [...TEXTS, long(65_537)],
  priority: [-1, 101, 1.5, '5', {}],
  ownerId: OPTIONAL_UUIDS,
  sessionId: OPTIONAL_UUIDS,
  parentTaskId: OPTIONAL_UUIDS,
  dueAt: TIMES,
  metadata: [5, [], 'x', new Date()],
};
const TITLES = [5, null, '', '  ', long(256), 'a\u0000b'];
const titled = (refusals: readonly Refusal[]): Refusal[] =>
  refusals.map(([bad, key]) => [{ title: 'a', ...(bad as object) }, key]);
const id = each('id', ...UUIDS);
const filter = { status: [5, 'x', {}], ownerId: OPTIONAL_UUIDS, conversationId: OPTIONAL_UUIDS };

const OPERATIONS: readonly (readonly [
  operation: Operation,
  valid: readonly unknown[],
  refusals: readonly (readonly Refusal[])[],
])[] = [
  [
    'create',
    [{ title: 'a' }],
    [
      [
        ...each('task', 5, null, 'x', []),
        ...members('task', { title: TITLES }),
        ...titled(
          members('task', { ...fields, status: [5, 'x', {}], conversationId: OPTIONAL_UUIDS, nope: [1], version: [1] }),
        ),
      ],
      keyed,
    ],
  ],
  ['get', [ID], [id, [...call, ...members('options', { withEvents: [1, 'x'] })]]],
  [
    'list',
    [],
    [
      [
        ...page,
        ...members('options', {
          ...filter,
          assigneeId: OPTIONAL_UUIDS,
          parentTaskId: OPTIONAL_UUIDS,
          priorityMin: [-1, 101, 'x'],
          priorityMax: [-1, 101, 'x'],
          dueBefore: TIMES,
          dueAfter: TIMES,
          overdue: [1, 'x'],
          sort: ['x', 5],
          order: ['x', 5],
        }),
        [{ status: ['done', null] }, 'options.status[1]'],
        [{ status: [''] }, 'options.status[0]'],
      ],
    ],
  ],
  ['listSubtasks', [ID], [id, page]],
  ['listDependencies', [ID], [id, page]],
  ['listDependents', [ID], [id, page]],
  [
    'listAssignments',
    [],
    [[...page, ...members('options', { taskId: OPTIONAL_UUIDS, assigneeId: OPTIONAL_UUIDS, status: ['x', 5] })]],
  ],
  [
    'search',
    [],
    [
      [
        ...call,
        ...members('options', {
          ...filter,
          text: [...TEXTS, long(1_021)],
          offset: [-1, 10_001, '1'],
          metadata: [5, []],
        }),
        [{ limit: 0 }, 'options.limit'],
        [{ limit: 101 }, 'options.limit'],
        [{ metadata: { 'a.b': 1 } }, 'options.metadata.a.b'],
        [{ metadata: { $a: 1 } }, 'options.metadata.$a'],
        [{ metadata: { a: [] } }, 'options.metadata.a'],
      ],
    ],
  ],
  ['ready', [], [[...call, [{ limit: 0 }, 'options.limit'], [{ limit: 101 }, 'options.limit']]]],
  ['dependenciesComplete', [ID], [id, call]],
  ['dependencyStatuses', [ID], [id, call]],
  [
    'update',
    [ID, { title: 'a' }],
    [
      id,
      [
        ...each('changes', 5, 'x', [], {}, { title: undefined }),
        ...members('changes', {
          ...fields,
          title: TITLES,
          status: ['done'],
          conversationId: [randomUUID()],
          nope: [1],
        }),
        ...members('changes', { priority: [null], metadata: [null] }),
      ],
      change,
    ],
  ],
  [
    'transition',
    [ID, 'done'],
    [id, each('status', 5, 'x', {}), [...change, ...members('options', { reason: [...TEXTS, long(1_021)] })]],
  ],
  [
    'transitionMany',
    [[]],
    [
      [
        ...each(
          'transitions',
          5,
          'x',
          {},
          Array.from({ length: 501 }, () => ({ id: randomUUID(), status: 'done' })),
        ),
        [[{ id: 'x', status: 'done' }], 'transitions[0].id'],
        [[{ id: randomUUID(), status: 'x' }], 'transitions[0].status'],
        [[{ id: randomUUID(), status: 'done', ifVersion: null }], 'transitions[0].ifVersion'],
        [[{ id: randomUUID(), status: 'done', reason: 5 }], 'transitions[0].reason'],
        [[{ id: randomUUID(), status: 'done', nope: 5 }], 'transitions[0].nope'],
        [
          Array.from({ length: 2 }, () => ({ id: '0190b3c400007000800000000000000a', status: 'done' })),
          'transitions[1].id',
        ],
      ],
      [...call, ...actor, ...members('options', { reason: [5, long(1_021)], ifVersion: [1] })],
    ],
  ],
  [
    'addDependency',
    [ID, OTHER],
    [id, each('dependsOnId', ...UUIDS), [...change, ...members('options', { type: ['x', 5] })]],
  ],
  ['removeDependency', [ID, OTHER], [id, each('dependsOnId', ...UUIDS), change]],
  [
    'assign',
    [ID, OTHER],
    [id, each('assigneeId', ...UUIDS), [...change, ...members('options', { role: ROLES, metadata: [5, []] })]],
  ],
  [
    'respond',
    [ID, OTHER, 'accepted'],
    [
      id,
      each('assigneeId', ...UUIDS),
      each('status', 'pending', 'completed', 5),
      [...change, ...members('options', { role: ROLES })],
    ],
  ],
  [
    'completeAssignment',
    [ID, OTHER],
    [id, each('assigneeId', ...UUIDS), [...change, ...members('options', { role: ROLES })]],
  ],
  [
    'comment',
    [ID, { text: 'a' }],
    [
      id,
      [
        ...each('comment', 5, 'x', null),
        ...members('comment', { text: [...TEXTS, '', null, long(65_537)] }),
        [{ text: 'a', nope: 1 }, 'comment.nope'],
      ],
      keyed,
    ],
  ],
  [
    'recordEvent',
    [ID, { eventType: 'said' }],
    [
      id,
      [
        ...each('event', 5, 'x', null),
        ...members('event', { eventType: [5, '', 'Said', 'a b', 'deleted', 'status_changed', long(65)] }),
        [{ eventType: 'said', payload: 5 }, 'event.payload'],
        [{ eventType: 'said', triggeredById: 5 }, 'event.triggeredById'],
        [{ eventType: 'said', sessionId: 5 }, 'event.sessionId'],
        [{ eventType: 'said', nope: 5 }, 'event.nope'],
      ],
      [...call, ...members('options', { idempotencyKey: [5, long(256)], triggeredById: ['ann'] })],
    ],
  ],
  ['delete', [ID], [id, [...change, ...members('options', { cascade: [1, 'x'] })]]],
  [
    'retain',
    [{ taskDays: 1 }],
    [
      [...each('policy', 5, 'x', []), ...members('policy', { taskDays: [-1, 1.5, '5', Infinity], nope: [1] })],
      [...call, ...members('options', { dryRun: [1, 'x'] })],
    ],
  ],
];

describeTasks('task arguments', (made) => {
  test.each(OPERATIONS)('of %s are read before any I/O', async (operation, valid, refusals) => {
    const { tasks } = made.tenant();
    const known = await tasks.create({ title: 'a' });
    for (const [place, bad] of refusals.entries())
      for (const [value, key] of bad) {
        const given = [...valid];
        given[place] = value;
        const call = tasks[operation].bind(tasks) as (...all: readonly unknown[]) => Promise<unknown>;
        // What is refused before any I/O does not find out that the task is not there.
        const details = await refused(call(...given), 'VALIDATION').catch((cause: unknown) => {
          throw new Error(`${key} given ${JSON.stringify(value)}`, { cause });
        });
        expect([value, details['key']]).toEqual([value, key]);
      }
    expect(await tasks.search()).toMatchObject({ count: 1 });
    expect(await tasks.get(known.id, { withEvents: true })).toEqual(known);
  });

  test('of the whole store are in the table', () => {
    const names = new Set<string>();
    for (
      let at = Object.getPrototypeOf(made.storage.tasks) as object;
      names.size === 0 || at.constructor.name !== 'Store';
      at = Object.getPrototypeOf(at) as object
    )
      for (const name of Object.getOwnPropertyNames(at)) names.add(name);
    const own = [
      'constructor',
      'capabilities',
      'eventsOf',
      'taskPage',
      'skipTo',
      'task',
      'answer',
      'record',
      'findTask',
      'deleteLarge',
      'deleteChildren',
      'retainAll',
      'retainSome',
      'retainLarge',
      'transitions',
    ];
    expect([...names].filter((name) => !own.includes(name)).sort()).toEqual(OPERATIONS.map(([name]) => name).sort());
  });
});
