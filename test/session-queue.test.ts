import { expect, test } from '@jest/globals';
import type { Session } from '../src/component.js';
import { SessionQueue } from '../src/pools/session-queue.js';

const session = (): Session => ({ pool: {} as Session['pool'], failure: undefined });

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
    queue.run(one, step('a')),
    queue.run(one, step('b')),
    queue.run(other, step('c')),
  ]);
  expect(steps).toEqual(['a begins', 'c begins']);
  release();
  expect((await outcomes).map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled']);
  expect(steps).toEqual(['a begins', 'c begins', 'a ends', 'c ends', 'b begins', 'b ends']);
});
