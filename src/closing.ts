/** Who is told that an opening begins to end: what works by itself, and what waits for something that would never come. */
import { Admission, isStepOf } from './admission.js';
import type { Clock } from './clock.js';
import type { AdmittedCall, StopLoop } from './component.js';
import { Listeners } from './listeners.js';

interface Opening {
  admit(): () => void;
}

const ignore = (): void => undefined;

export class Closing {
  private readonly loops = new Listeners<(time: number) => unknown>();
  private readonly outsiders = new Listeners<() => void>();
  /** Of what the close waits for: those go on for as long as it may take. */
  private readonly steps = new Listeners<() => void>();
  private hasBegun = false;
  private isTimeOver = false;

  constructor(private readonly clock: Clock) {}

  /** Listens until the returned function is called. */
  add(opening: Opening, listener: () => void): () => void {
    if (!isStepOf(opening)) return this.outsiders.add(listener);
    if (this.isTimeOver) queueMicrotask(listener);
    return this.steps.add(listener);
  }

  /** One that begins while a close waits for others is to stop at once. @throws `CLOSED` */
  beginLoop(opening: Opening, stop: StopLoop): AdmittedCall {
    const call = new Admission(opening, opening.admit());
    const unlisten = this.loops.add((time) => call.run(() => stop(time)));
    if (this.hasBegun) queueMicrotask(() => void call.run(() => stop(0)));
    return {
      run: (step) => call.run(step),
      end: () => {
        unlisten();
        call.end();
      },
    };
  }

  /**
   * @param time milliseconds that what is under way may still take
   * @returns what ends the waiting for that
   */
  begin(time: number): () => void {
    this.hasBegun = true;
    this.outsiders.tell((listener) => listener(), ignore);
    this.loops.tell((listener) => listener(time), ignore);
    const timer = this.clock.after(time, () => {
      this.isTimeOver = true;
      this.steps.tell((listener) => listener(), ignore);
    });
    return () => timer.cancel();
  }
}
