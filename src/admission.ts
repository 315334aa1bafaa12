/** Calls of several steps, each admitted once for all of them: a close waits for the whole, and takes its steps meanwhile. */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { AdmittedCall } from './component.js';

const running = new AsyncLocalStorage<Admission>();

export class Admission implements AdmittedCall {
  private isOver = false;
  /** The one that this was begun in. */
  private enclosing = running.getStore();

  /** @param opening what it is admitted to @param release ends the admission */
  constructor(
    private readonly opening: object,
    private readonly release: () => void,
  ) {}

  run<R>(step: () => R): R {
    return running.run(this, step);
  }

  end(): void {
    this.isOver = true;
    // Calls that begin calls for ever would hold all of those before.
    this.enclosing = undefined;
    this.release();
  }

  /** Whether it, or one around it, is of this opening and goes on. */
  admits(opening: object): boolean {
    if (this.isOver) return false;
    return this.opening === opening || this.enclosing?.admits(opening) === true;
  }
}

/** Whether this is called in a step of a call that was admitted to the opening, and goes on. */
export function isStepOf(opening: object | undefined): boolean {
  return opening !== undefined && running.getStore()?.admits(opening) === true;
}
