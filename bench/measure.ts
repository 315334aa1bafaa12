/** Paired rounds: each round runs every contender, in an order that alternates, so that what else the machine does falls on all. */

/** Does the work `count` times. */
export type Contender = (count: number) => Promise<void>;

export interface Row {
  readonly what: string;
  readonly ours: number;
  readonly raw: number;
  /** The raw contender against itself: how much of a difference is noise. */
  readonly control: number;
  readonly ratio: number;
  readonly goal: string;
}

export interface CompareOptions {
  readonly rounds?: number;
  readonly count?: number;
  /** Run before each contender, unmeasured. */
  readonly before?: () => Promise<void>;
}

/** Rounds that are run and not measured, for at least so many milliseconds: small rounds are many then. */
const WARM_UP = { rounds: 4, time: 8_000 };

/**
 * Microseconds a call, medians over the rounds; the ratio is the median of the rounds' own ratios, raw time over our time:
 * 1 is as fast as the raw driver, 0.9 takes 11% longer. A round has to be long against the time between two garbage
 * collections, some 50 ms: a collection falls on one contender of a shorter round, and in a steady rhythm always on the same.
 */
export async function compare(
  what: string,
  goal: string,
  ours: Contender,
  raw: Contender,
  { rounds = 9, count = 1_000, before }: CompareOptions = {},
): Promise<Row> {
  const contenders = [ours, raw, raw];
  const times: number[][] = [];
  // Until the engine has compiled both: what is measured is a service that runs, not one that starts.
  const begun = performance.now();
  for (let i = 0; i < WARM_UP.rounds || performance.now() - begun < WARM_UP.time; i++)
    for (const run of contenders) {
      await before?.();
      await run(count);
    }
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? [0, 1, 2] : [2, 1, 0];
    const row = [0, 0, 0];
    for (const i of order) {
      await before?.();
      row[i] = await timed(() => contenders[i]!(count), count);
    }
    times.push(row);
  }
  return {
    what,
    ours: median(times.map((row) => row[0]!)),
    raw: median(times.map((row) => row[1]!)),
    control: median(times.map((row) => row[2]! / row[1]!)),
    ratio: median(times.map((row) => (row[1]! + row[2]!) / 2 / row[0]!)),
    goal,
  };
}

async function timed(work: () => Promise<void>, count: number): Promise<number> {
  const started = performance.now();
  await work();
  return ((performance.now() - started) * 1_000) / count;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}

/** @param other what stands beside ours */
export function print(unit: string, rows: readonly Row[], other = 'raw'): void {
  console.log(`\n| what | ours (${unit}) | ${other} (${unit}) | ratio | control | goal |\n|---|---|---|---|---|---|`);
  for (const { what, ours, raw, ratio, control, goal } of rows)
    console.log(
      `| ${what} | ${ours.toFixed(1)} | ${raw.toFixed(1)} | ${ratio.toFixed(2)} | ${control.toFixed(2)} | ${goal} |`,
    );
}
