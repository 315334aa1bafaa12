import { expect, test } from '@jest/globals';
import type { Session } from '../src/component.js';
import { SessionQueue } from '../src/pools/session-queue.js';
import { ManualClock } from './support/manual-clock.js';

const clock = new ManualClock();
const session = (): Session => ({ pool: {} as Session['pool'], clock, failure: undefined });
const patient = { deadline: Infinity };

test('work of one session runs in its order, also after work that failed; another session does not wait', async () => {
  const queue = new SessionQueue();
  const [one, other] = [session(), session()];
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
  const outcomes = Promise.allSettled([
    queue.run(one, patient, step('a')),
    queue.run(one, patient, step('b')),
    queue.run(other, patient, step('c')),
  ]);
  expect(steps).toEqual(['a begins', 'c begins']);
  release();
  expect((await outcomes).map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled']);
  expect(steps).toEqual(['a begins', 'c begins', 'a ends', 'c ends', 'b begins', 'b ends']);
});

test('what gives up its wait was never begun, and holds nobody up; who comes next waits for what runs', async () => {
  const queue = new SessionQueue();
  const one = session();
  const steps: string[] = [];
  let release!: () => void;
  const held = new Promise<void>((resolve) => (release = resolve));
  const first = queue.run(one, patient, async () => {
    await held;
    steps.push('first ends');
  });
  const step = (name: string) => async () => void steps.push(name);
  const controller = new AbortController();
  const late = queue.run(one, { deadline: clock.monotonic() + 100 }, step('late'));
  const aborted = queue.run(one, { deadline: Infinity, signal: controller.signal }, step('aborted'));
  const next = queue.run(one, patient, step('next'));
  const refused = Promise.all([
    expect(late).rejects.toMatchObject({ code: 'TIMEOUT' }),
    expect(aborted).rejects.toMatchObject({ code: 'ABORTED' }),
  ]);
  controller.abort();
  await clock.advance(100);
  await refused;
  const last = queue.run(one, patient, step('last'));
  expect(steps).toEqual([]);
  release();
  await queue.idle(one);
  expect(steps).toEqual(['first ends', 'next', 'last']);
  await Promise.all([first, next, last]);
  expect(one.failure).toBeUndefined();
  expect(clock.timers).toBe(0);
});
