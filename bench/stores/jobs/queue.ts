/** What a queue of jobs is asked for by the bench. */
export interface JobQueue {
  /** Leaves so many jobs that are due. */
  readonly fill: (count: number) => Promise<void>;
  /** One worker: claims one, completes it, until none is due. */
  readonly oneByOne?: (workerId: string) => Promise<void>;
  /** All workers, as the queue does it fastest, until so many are done. */
  readonly together?: (count: number) => Promise<void>;
  readonly close: () => Promise<void>;
}
