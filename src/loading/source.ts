/** The items of a host's source, each awaited within the bounds of an operation: one that hangs holds nobody up. */
import { listenToAbort } from '../abort.js';
import { aborted, timerDelay, type Clock, type Timer } from '../clock.js';
import type { OperationContext } from '../component.js';
import { invalid, TimeoutError } from '../errors.js';

export type Source<T> = Iterable<T> | AsyncIterable<T>;

export interface SourceHost {
  readonly clock: Clock;
  /** Whose source it is, for errors. */
  readonly operation: string;
  /** The bounds of an operation that begins now. @throws what refuses one. */
  bounds(): Pick<OperationContext, 'deadline' | 'signal'>;
}

/** @throws `VALIDATION` for what is no iterable. */
export function checkSource<T>(source: Source<T>, key: string, expected: string): Source<T> {
  const given: unknown = source;
  if (typeof given === 'object' && given !== null && (Symbol.iterator in given || Symbol.asyncIterator in given))
    return source;
  throw invalid(key, source, expected);
}

/** Milliseconds after which one that waits asks whether an operation would still be taken: nothing tells it of a close. */
const ASKS = 1_000;

export class SourceReader<T> {
  private readonly iterator: Iterator<T> | AsyncIterator<T>;
  private readonly waits: boolean;
  /** The source has ended, by itself or by `close`. */
  private over = false;
  private failure: Error | undefined;
  /** Ends the wait for an item. */
  private refuse: ((reason: unknown) => void) | undefined;
  private deadline = Infinity;
  private timer: Timer | undefined;
  private signal: AbortSignal | undefined;
  private unlisten: (() => void) | undefined;

  constructor(
    source: Source<T>,
    private readonly host: SourceHost,
  ) {
    this.waits = Symbol.asyncIterator in source;
    this.iterator = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
  }

  /** @throws what the source throws, the reason of `stop`, `ABORTED`, `TIMEOUT`. */
  next(): IteratorResult<T> | Promise<IteratorResult<T>> {
    if (this.failure !== undefined) throw this.failure;
    if (this.waits) return this.wait();
    this.over = true;
    const item = (this.iterator as Iterator<T>).next();
    this.over = item.done === true;
    return item;
  }

  /** Gives the sockets a turn. A source that does not wait is held to the bounds here. @throws `ABORTED`, `TIMEOUT` */
  async turn(): Promise<void> {
    await new Promise(setImmediate);
    if (this.waits) return;
    const { deadline, signal } = this.host.bounds();
    if (signal?.aborted === true) throw aborted(signal, this.host.operation);
    if (deadline <= this.host.clock.monotonic())
      throw new TimeoutError('The deadline has passed', { operation: this.host.operation });
  }

  /** Ends the wait for an item, and each later one, with `reason`. */
  stop(reason: unknown): void {
    this.failure ??= reason as Error;
    this.refuse?.(this.failure);
  }

  /** Tells the source that nobody reads on, without waiting for what it makes of it: a source that hangs never answers. */
  close(): void {
    this.timer?.cancel();
    this.unlisten?.();
    if (this.over) return;
    this.over = true;
    const ended = async (): Promise<unknown> => this.iterator.return?.();
    ended().catch(() => undefined);
  }

  private wait(): Promise<IteratorResult<T>> {
    const { deadline, signal } = this.host.bounds();
    if (signal !== this.signal) {
      this.unlisten?.();
      this.signal = signal;
      this.unlisten = listenToAbort(signal, () => this.stop(aborted(signal!, this.host.operation)));
    }
    this.deadline = deadline;
    if (this.timer === undefined) this.setTimer();
    const given = (async () => this.iterator.next())();
    return new Promise((resolve, reject) => {
      this.refuse = reject;
      given.then(
        (item) => {
          this.refuse = undefined;
          this.over ||= item.done === true;
          resolve(item);
        },
        (error: Error) => {
          this.refuse = undefined;
          this.over = true;
          reject(error);
        },
      );
    });
  }

  /** One timer for all the waits: it is set again where it comes too early for the last. */
  private setTimer(): void {
    const { clock } = this.host;
    const rest = this.deadline - clock.monotonic();
    const options = { background: this.deadline === Infinity };
    this.timer = clock.after(timerDelay(Math.min(rest, ASKS)), () => this.look(), options);
  }

  private look(): void {
    this.timer = undefined;
    if (this.refuse === undefined) return;
    const { clock, operation } = this.host;
    if (clock.monotonic() >= this.deadline)
      return this.stop(new TimeoutError('The source gave no item before the deadline', { operation }));
    try {
      this.host.bounds();
    } catch (error) {
      return this.stop(error);
    }
    this.setTimer();
  }
}

/** The items of a source, each as `SourceReader` gives it; ended early, the source is told. */
export async function* itemsOf<T>(source: Source<T>, host: SourceHost): AsyncGenerator<T, void, undefined> {
  const reader = new SourceReader(source, host);
  try {
    for (;;) {
      const item = await reader.next();
      if (item.done === true) return;
      yield item.value;
    }
  } finally {
    reader.close();
  }
}
