/** Pieces of work that are done side by side, so many at once; the others wait for their turn. */
export class WorkQueue {
  private running = 0;
  private readonly waiting: (() => Promise<void>)[] = [];

  constructor(private readonly atOnce: number) {}

  /** @param work does not reject */
  add(work: () => Promise<void>): void {
    this.waiting.push(work);
    this.begin();
  }

  private begin(): void {
    if (this.running === this.atOnce) return;
    const work = this.waiting.shift();
    if (work === undefined) return;
    this.running++;
    void work().finally(() => {
      this.running--;
      this.begin();
    });
  }
}
