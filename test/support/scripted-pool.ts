/** A pool for the manager's tests: the memory engine, under a scheme of its own, that fails or waits when told to. */
import type { OpenContext } from '../../src/component.js';
import { memory, type MemoryPool } from '../../src/pools/memory.js';
import type { PoolDriver } from '../../src/pools/pool.js';
import { registerPool } from '../../src/registry.js';

export class Script {
  opened = 0;
  open = 0;
  /** What the next openings throw. */
  readonly failures: Error[] = [];
  /** What an opening waits for. */
  gate: Promise<void> = Promise.resolve();
  checkFailure: Error | undefined;
}

/** Registers `<scheme>:`; what happens to its pools is read from the script. */
export function registerScriptedPool(scheme: string): Script {
  const script = new Script();
  const driver: PoolDriver<MemoryPool> = {
    ...memory,
    name: scheme,
    schemes: [scheme],
    settings: {},
    tests: [],
    checkUrl: () => undefined,
    key: (url, _options, name) => `${url} ${name}`,
    create(_url, _options, environment) {
      const pool = memory.create('memory:', { seed: null }, environment);
      const { open, close, check } = {
        open: pool.open.bind(pool),
        close: pool.close.bind(pool),
        check: pool.check.bind(pool),
      };
      return Object.assign(pool, {
        async open(_context: OpenContext) {
          script.opened++;
          await script.gate;
          const failure = script.failures.shift();
          if (failure !== undefined) throw failure;
          await open();
          script.open++;
        },
        async close() {
          await close();
          script.open--;
        },
        check() {
          if (script.checkFailure !== undefined) throw script.checkFailure;
          return check();
        },
      });
    },
  };
  registerPool(driver);
  return script;
}
