/** Loops over what is written to an aggregate: they wait for it, and end when whoever asked for them does not want more. */
import { listenToAbort } from '../abort.js';
import type { Clock } from '../clock.js';
import { isStorageError } from '../errors.js';
import { forwardAbort } from './forward-abort.js';
import { LoopPause } from '../unit-of-work/loop-pause.js';
import type { EventBus } from './events.js';

export interface WakeUpHost {
  readonly clock: Clock;
  readonly events: EventBus;
  onClosing(listener: () => void): () => void;
}

export interface WakeUps {
  /** From now on something new ends the next waiting. */
  arm(): void;
  /** Resolves when something was written since `arm`: at once for what this process writes, else after the interval. */
  next(): Promise<void>;
  stop(): void;
}

/** @param type of the events that wake; `*` for all @param interval milliseconds @param signal ends a waiting */
export function wakeUps(
  host: WakeUpHost,
  type: string,
  aggregate: string,
  interval: number,
  signal: AbortSignal,
): WakeUps {
  const pauses = new LoopPause(host.clock);
  const tell = (): void => pauses.wake();
  const stops = [
    host.events.watch(aggregate, (written) => (type === '*' || type === written ? tell() : undefined)),
    host.onClosing(tell),
  ];
  const unlisten = listenToAbort(signal, tell);
  return {
    arm: () => pauses.look(),
    next: () => pauses.pause(interval),
    stop: () => {
      unlisten();
      for (const stop of stops) stop();
    },
  };
}

/** What a read of a loop finds: nothing where the signal that ends the loop has ended it. @throws what else it throws */
export async function orNoneIfAborted<R>(read: Promise<R[]>, signal: AbortSignal): Promise<R[]> {
  return read.catch((error: unknown) => {
    if (signal.aborted && isStorageError(error, 'ABORTED')) return [];
    throw error;
  });
}

/** What ends a loop: its caller's signal, or that nobody goes on with it. */
export class LoopEnd {
  private readonly controller = new AbortController();
  private readonly abort = (): void => this.controller.abort();
  private unlink: (() => void) | undefined;

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** Ends the loop when `signal` aborts, too. */
  follow(signal: AbortSignal | undefined): void {
    this.unlink = forwardAbort(signal, this.abort);
  }

  end(): void {
    this.abort();
    this.unlink?.();
  }
}

/**
 * A loop over what is written, for `for await`. Its `return` and `throw` end a waiting that is under way: those of a generator
 * come after it, however long that takes. @param generate ends when the signal of `end` aborts
 */
export function endableLoop<T>(
  generate: (end: LoopEnd) => AsyncGenerator<T, void, undefined>,
): AsyncGenerator<T, void, undefined> {
  const end = new LoopEnd();
  const generator = generate(end);
  const loop: AsyncGenerator<T, void, undefined> = {
    next: () => generator.next(),
    return: (value) => {
      end.end();
      return generator.return(value);
    },
    throw: (error) => {
      end.end();
      return generator.throw(error);
    },
    [Symbol.asyncIterator]: () => loop,
    [Symbol.asyncDispose]: async () => void (await loop.return()),
  };
  return loop;
}
