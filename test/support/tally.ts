/** Resolves when it has been told of `count` things. */
export class Tally<T> {
  readonly seen: T[] = [];
  private readonly waiters: { count: number; resolve: () => void }[] = [];

  add(item: T): void {
    this.seen.push(item);
    for (const { count, resolve } of this.waiters) if (this.seen.length >= count) resolve();
  }

  until(count: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.seen.length >= count) resolve();
      else this.waiters.push({ count, resolve });
    });
  }
}
