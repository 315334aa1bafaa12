/** Functions of the host that are told what has happened in this process. */
export class Listeners<L extends (...told: never[]) => unknown> {
  // An entry for each time a function was added: it may listen twice, and end once.
  private readonly entries = new Set<{ readonly listener: L }>();

  get size(): number {
    return this.entries.size;
  }

  /** Listens until the returned function is called. */
  add(listener: L): () => void {
    const entry = { listener };
    this.entries.add(entry);
    return () => void this.entries.delete(entry);
  }

  /**
   * What they are told of is over and stands, whatever a listener makes of it; and the others are told too.
   * @param failed gets what a listener threw, or rejected with
   */
  tell(call: (listener: L) => unknown, failed: (fault: unknown) => void): void {
    for (const { listener } of [...this.entries])
      try {
        Promise.resolve(call(listener)).catch(failed);
      } catch (fault) {
        failed(fault);
      }
  }
}
