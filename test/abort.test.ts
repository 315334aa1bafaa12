/** Operations that share their caller's signal: each hears it, and Node sees no leak in it. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { getEventListeners } from 'node:events';
import { listenToAbort } from '../src/abort.js';
import { PROJECT } from './support/project.js';
import { run } from './support/run.js';
import { storageTargets } from './support/storage-targets.js';
import { useStorage } from './support/use-storage.js';

describe('those who listen to a signal', () => {
  test('have one listener on it, for as long as there is one of them', () => {
    const { signal } = new AbortController();
    const unlisten = Array.from({ length: 3 }, () => listenToAbort(signal, () => undefined));
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    unlisten[0]!();
    unlisten[1]!();
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    unlisten[2]!();
    expect(getEventListeners(signal, 'abort')).toEqual([]);
    const again = listenToAbort(signal, () => undefined);
    // Who has left is not counted a second time.
    unlisten[2]!();
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    again();
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  test('are called once, in their order, but for those that one of them took away', () => {
    const controller = new AbortController();
    const called: string[] = [];
    listenToAbort(controller.signal, () => called.push('first'));
    const gone = listenToAbort(controller.signal, () => called.push('gone'));
    listenToAbort(controller.signal, () => leave());
    const leave = listenToAbort(controller.signal, () => called.push('left'));
    listenToAbort(controller.signal, () => called.push('last'));
    gone();
    controller.abort();
    controller.abort();
    expect(called).toEqual(['first', 'last']);
    listenToAbort(controller.signal, () => called.push('late'))();
    expect(called).toHaveLength(2);
  });

  test('do not keep each other from hearing it', async () => {
    const code = `
      import { listenToAbort } from './build/src/abort.js';
      process.on('uncaughtException', ({ message }) => console.log(message));
      const controller = new AbortController();
      listenToAbort(controller.signal, () => { throw new Error('of the first'); });
      listenToAbort(controller.signal, () => console.log('second'));
      controller.abort();
    `;
    const { output } = await run(process.execPath, ['--input-type=module', '-e', code], PROJECT, 60_000);
    expect(output).toBe('second\nof the first\n');
  });

  test('have nothing to end where there is no signal', () => {
    expect(listenToAbort(undefined, () => undefined)()).toBeUndefined();
  });
});

for (const target of storageTargets('a signal of many operations'))
  describe(`a signal of many operations on ${target.name}`, () => {
    const storage = useStorage(target, { kv: { namespaceQuotaBytes: 0 } });
    const warnings: Error[] = [];
    const onWarning = (warning: Error): void => void warnings.push(warning);
    beforeEach(() => void process.on('warning', onWarning));
    afterEach(() => void process.off('warning', onWarning));

    test('is taken for no leak, and holds none of them when they have ended', async () => {
      const { signal } = new AbortController();
      const { kv } = storage();
      const keys = Array.from({ length: 30 }, (_, i) => `k${i}`);
      await Promise.all(keys.map((key) => kv.set('shared', key, key, { signal })));
      const entries = await Promise.all(keys.map((key) => kv.get('shared', key, { signal })));
      expect(entries).toMatchObject(keys.map((key) => ({ found: true, value: key })));
      if (target.transactions)
        await Promise.all(
          keys.map((key) => storage().transaction(async (tx) => tx.kv.set('shared', key, 0), { signal })),
        );
      // Node warns in the tick after.
      await new Promise(setImmediate);
      expect(warnings).toEqual([]);
      expect(getEventListeners(signal, 'abort')).toEqual([]);
    });
  });
