/** Runs that a retention finds, taken away in steps of a few; a dry run counts each of them once. */

/** Runs of one step: with their events a batch is of at most 500 records. */
const STEP = 100;

export class RetentionSteps {
  private dropped = 0;
  /** Of a dry run, which finds the same ones again: nothing is gone. */
  private readonly found = new Set<string>();

  constructor(private readonly dryRun: boolean) {}

  get count(): number {
    return this.dropped + this.found.size;
  }

  /** @param drop gives how many it took away; @param kept how many of the first ones stay */
  async take(
    runs: AsyncIterable<{ readonly id: string }>,
    drop: (ids: readonly string[]) => Promise<number>,
    kept = 0,
  ): Promise<void> {
    let some: string[] = [];
    let place = 0;
    for await (const { id } of runs) {
      if (++place <= kept) continue;
      if (this.dryRun) this.found.add(id);
      else if (some.push(id) === STEP) {
        this.dropped += await drop(some);
        some = [];
      }
    }
    if (some.length > 0) this.dropped += await drop(some);
  }
}
