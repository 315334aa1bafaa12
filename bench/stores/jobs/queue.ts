/** What a queue of jobs is asked for by the bench. */
export interface JobQueue {
  /** Leaves so many jobs that are due. */
  readonly fill: (count: number) => Promise<void>;
  /** One worker: claims one, completes it, until none is due. */
  readonly oneByOne?: (workerId: string) => Promise<void>;
  /** So many workers made of its calls, where one call completes a batch: each claims one, completes it, until none is due. */
  readonly inBatches?: (workers: number, batch: number) => Promise<void>;
  /** The workers that it has itself, with handlers that do nothing, until so many are done. */
  readonly byWorkers?: (count: number, workers: number, batch: number) => Promise<void>;
  readonly close: () => Promise<void>;
}
