/** How many cases ran, and how many properties found a disagreement. */
import { systemClock as clock } from '../../src/clock.js';

export class Tally {
  ran = 0;
  disagreed = 0;

  /** Runs one property; its disagreement is printed, not thrown. */
  async run(what: string, property: () => Promise<{ readonly cases: number; readonly nonEmpty: number }>) {
    const started = clock.monotonic();
    try {
      const { cases, nonEmpty } = await property();
      this.ran += cases;
      const seconds = ((clock.monotonic() - started) / 1_000).toFixed(1);
      console.log(`${what}: ${cases} cases, ${nonEmpty} with an answer, ${seconds} s`);
    } catch (error) {
      this.disagreed++;
      console.log(`${what}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}
