import { expect, test } from '@jest/globals';
import { LocalSession } from '../src/pools/local-session.js';
import type { Pool } from '../src/pools/pool.js';
import { alone, TurnQueue } from '../src/pools/turn-queue.js';
import { ManualClock } from './support/manual-clock.js';

const clock = new ManualClock();
const patient = { deadline: Infinity };

test('work runs in the order of the calls, also after work that failed', async () => {
  const queue = new TurnQueue(clock, 'main');
  const steps: string[] = [];
  let release!: () => void;
  const held = new Promise<void>((resolve) => (release = resolve));
  const step = (name: string) => async () => {
    steps.push(`${name} begins`);
    await held;
    steps.push(`${name} ends`);
    if (name === 'a') throw new Error('no');
    return name;
  };
  const outcomes = Promise.allSettled([queue.run(patient, step('a')), queue.run(patient, step('b'))]);
  expect(steps).toEqual(['a begins']);
  release();
  expect((await outcomes).map(({ status }) => status)).toEqual(['rejected', 'fulfilled']);
  expect(steps).toEqual(['a begins', 'a ends', 'b begins', 'b ends']);
});

test('what gives up its wait was never begun, and holds nobody up; who comes next waits for what runs', async () => {
  const queue = new TurnQueue(clock, 'main');
  const steps: string[] = [];
  let release!: () => void;
  const held = new Promise<void>((resolve) => (release = resolve));
  const first = queue.run(patient, async () => {
    await held;
    steps.push('first ends');
  });
  const step = (name: string) => async () => void steps.push(name);
  const controller = new AbortController();
  const late = queue.run({ deadline: clock.monotonic() + 100 }, step('late'));
  const aborted = queue.run({ deadline: Infinity, signal: controller.signal }, step('aborted'));
  const next = queue.run(patient, step('next'));
  const refused = Promise.all([
    expect(late).rejects.toMatchObject({ code: 'TIMEOUT' }),
    expect(aborted).rejects.toMatchObject({ code: 'ABORTED' }),
  ]);
  controller.abort();
  await clock.advance(100);
  await refused;
  const last = queue.run(patient, step('last'));
  expect(steps).toEqual([]);
  release();
  await queue.idle();
  expect(steps).toEqual(['first ends', 'next', 'last']);
  await Promise.all([first, next, last]);
  expect(clock.timers).toBe(0);
});

test('what runs alone has nothing of its session between its statements, which take turns among themselves', async () => {
  const session = new LocalSession({ name: 'main' } as Pool, { ...patient, now: new Date(0) }, clock);
  const context = { ...patient, now: new Date(0), session };
  const steps: string[] = [];
  const statement = (on: typeof context, name: string): Promise<void> =>
    session.inTurn(on, async () => {
      steps.push(`${name} begins`);
      await Promise.resolve();
      steps.push(`${name} ends`);
    });
  const work = alone(context, async (on) => {
    await Promise.all([statement({ ...on, session }, 'own 1'), statement({ ...on, session }, 'own 2')]);
    await alone(on, (within) => statement({ ...within, session }, 'own 3'));
  });
  await Promise.all([
    work,
    statement(context, 'other'),
    alone(context, (on) => statement({ ...on, session }, 'later')),
  ]);
  const names = ['own 1', 'own 2', 'own 3', 'other', 'later'];
  expect(steps).toEqual(names.flatMap((name) => [`${name} begins`, `${name} ends`]));
});
