/** What is being computed in this process: who asks for the same meanwhile gets the same. */
export class Flights<R> {
  private readonly running = new Map<string, Promise<R>>();

  /** Nobody's own: it goes on when the caller who began it waits no more. Rejects with what `compute` throws, for all who wait. */
  share(id: string, compute: () => Promise<R>): Promise<R> {
    const known = this.running.get(id);
    if (known !== undefined) return known;
    const own = compute().finally(() => this.running.delete(id));
    // There may be nobody left to hear of it.
    own.catch(() => undefined);
    this.running.set(id, own);
    return own;
  }
}
