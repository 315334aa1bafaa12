export interface Look {
  /** A computation has ended since: what was not there may be there now. */
  isOld: boolean;
  end(): void;
}

/** What is being computed in this process: who asks for the same meanwhile gets the same. */
export class Flights<R> {
  private readonly running = new Map<string, Promise<R>>();
  /** Those who look whether there is anything to compute, by id. */
  private readonly looking = new Map<string, Set<Look>>();

  /** From before a caller looks until it has shared the computation, or needs none. */
  begin(id: string): Look {
    const looks = this.looking.get(id) ?? new Set();
    this.looking.set(id, looks);
    const look: Look = {
      isOld: false,
      end: () => {
        looks.delete(look);
        if (looks.size === 0 && this.looking.get(id) === looks) this.looking.delete(id);
      },
    };
    looks.add(look);
    return look;
  }

  /**
   * The computation is nobody's own: it goes on when the caller who began it waits no more. From then on who asks begins
   * another, so that one that never ends holds up nobody beyond its first caller's bounds.
   * @param wait for how long this caller waits
   * @throws what `compute` throws, to all who wait; what `wait` throws
   */
  async share(id: string, compute: () => Promise<R>, wait: (computing: Promise<R>) => Promise<R>): Promise<R> {
    const known = this.running.get(id);
    if (known !== undefined) return wait(known);
    const own = compute();
    // There may be nobody left to hear of it.
    own.catch(() => undefined);
    this.running.set(id, own);
    try {
      return await wait(own);
    } finally {
      this.running.delete(id);
      for (const look of this.looking.get(id) ?? []) look.isOld = true;
    }
  }
}
