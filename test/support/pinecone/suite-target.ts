/** The stand-in as the conformance suite meets it: reads lag behind writes, and indexes take their time. */
import assert from 'node:assert/strict';
import type { RunningStandIn } from '../stand-ins.js';
import { StandIn } from './stand-in.js';

export async function startStandIn(): Promise<RunningStandIn> {
  const standIn = await StandIn.start({ lag: 1, unready: 1, terminating: 1 });
  return {
    settings: standIn.settings,
    async stop() {
      await standIn.stop();
      assert.deepEqual(standIn.violations, []);
    },
  };
}
