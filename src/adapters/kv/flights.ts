/** Of somebody who looks for what may be there already. */
export interface Look {
  readonly id: string;
  /** Whether a computation has ended since it began: an answer that there is nothing may be of the time before. */
  isLate: boolean;
}

/** What is being computed in this process: who asks for the same meanwhile gets the same. */
export class Flights<R> {
  private readonly running = new Map<string, Promise<R>>();
  private readonly looks = new Map<string, Set<Look>>();

  /** Begins a look, which `end` ends. */
  look(id: string): Look {
    const look: Look = { id, isLate: false };
    const looks = this.looks.get(id) ?? new Set();
    this.looks.set(id, looks.add(look));
    return look;
  }

  end(look: Look): void {
    const looks = this.looks.get(look.id);
    looks?.delete(look);
    if (looks?.size === 0) this.looks.delete(look.id);
  }

  /**
   * The computation is nobody's own: it goes on when the caller who began it waits no more. From then on who asks begins
   * another, so that one that never ends holds up nobody beyond its first caller's bounds.
   * @param look which found nothing
   * @param wait for how long this caller waits
   * @returns `undefined` when the look is to be made again
   * @throws what `compute` throws, to all who wait; what `wait` throws
   */
  async share(
    { id, isLate }: Look,
    compute: () => Promise<R>,
    wait: (computing: Promise<R>) => Promise<R>,
  ): Promise<R | undefined> {
    const known = this.running.get(id);
    if (known !== undefined) return wait(known);
    if (isLate) return undefined;
    const own = compute();
    // There may be nobody left to hear of it.
    own.catch(() => undefined);
    this.running.set(id, own);
    try {
      return await wait(own);
    } finally {
      this.running.delete(id);
      for (const look of this.looks.get(id) ?? []) look.isLate = true;
    }
  }
}
