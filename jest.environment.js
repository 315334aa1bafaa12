/**
 * Node's environment, whose test files take the async contexts that they made with them. A worker runs many files, each with
 * the library's modules anew; every context that was ever entered would be propagated to every promise from then on (Node 20).
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { TestEnvironment } from 'jest-environment-node';

const { run } = AsyncLocalStorage.prototype;

export default class ContextsEndWithTheirFile extends TestEnvironment {
  #entered = new Set();

  async setup() {
    await super.setup();
    const entered = this.#entered;
    AsyncLocalStorage.prototype.run = function (...of) {
      entered.add(this);
      return run.apply(this, of);
    };
  }

  async teardown() {
    AsyncLocalStorage.prototype.run = run;
    for (const context of this.#entered) context.disable();
    await super.teardown();
  }
}
