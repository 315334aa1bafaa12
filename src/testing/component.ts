/** What every component has: a name, its health, an end. */
import assert from 'node:assert/strict';
import { systemClock } from '../clock.js';
import type { Component } from '../component.js';
import { settled } from './bounds.js';
import type { TestRunner } from './runner.js';

interface OpenComponent {
  readonly component: Component;
  close(): Promise<void>;
}

/** @param open gives one of the test's own */
export function describeComponent({ describe, test }: TestRunner, open: () => Promise<OpenComponent>): void {
  const withOwn = async (work: (component: Component) => Promise<void>): Promise<void> => {
    const own = await open();
    try {
      await work(own.component);
    } finally {
      await own.close();
    }
  };

  describe('the component', () => {
    test('has a name, and a health that is told in time', () =>
      withOwn(async (component) => {
        assert.ok(typeof component.name === 'string' && component.name !== '', 'a name');
        const { status } = await settled(component.check(new AbortController().signal), 'check');
        assert.ok(['healthy', 'degraded', 'unhealthy', 'unknown'].includes(status), `the status ${status}`);
        await settled(
          component.check(AbortSignal.abort()).catch(() => undefined),
          'check, with a signal that has aborted',
        );
      }));

    test('closes, and closes again, also past its deadline', () =>
      withOwn(async (component) => {
        await settled(component.close(systemClock.monotonic() + 1_000), 'close');
        await settled(component.close(systemClock.monotonic() - 1), 'the second close');
      }));
  });
}
