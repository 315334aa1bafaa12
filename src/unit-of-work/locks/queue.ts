/**
 * Those of this process that wait for one lock, in the order they came. Only the first asks the database, however many
 * wait; the others have their turn when it has the lock or gives up.
 */
import type { RecordBackend } from '../../backends/backend.js';
import type { Clock } from '../../clock.js';
import { LoopPause } from '../loop-pause.js';

const queues = new WeakMap<RecordBackend, Map<string, Waiter[]>>();

export class Waiter {
  private readonly pauses: LoopPause;
  private readonly queue: Waiter[];

  constructor(
    private readonly all: Map<string, Waiter[]>,
    private readonly key: string,
    clock: Clock,
  ) {
    this.pauses = new LoopPause(clock);
    let queue = all.get(key);
    if (queue === undefined) all.set(key, (queue = []));
    queue.push(this);
    this.queue = queue;
  }

  get isFirst(): boolean {
    return this.queue[0] === this;
  }

  /** Ends the pause, or the next one if there is none now. */
  wake(): void {
    this.pauses.wake();
  }

  async pause(milliseconds: number): Promise<void> {
    await this.pauses.pause(milliseconds);
    this.pauses.look();
  }

  leave(): void {
    const { isFirst, queue } = this;
    queue.splice(queue.indexOf(this), 1);
    if (queue.length === 0) this.all.delete(this.key);
    else if (isFirst) queue[0]!.wake();
  }
}

export function joinQueue(backend: RecordBackend, clock: Clock, tenant: string, name: string): Waiter {
  let all = queues.get(backend);
  if (all === undefined) queues.set(backend, (all = new Map<string, Waiter[]>()));
  return new Waiter(all, keyOf(tenant, name), clock);
}

/** The lock is free: its first waiter need not wait for its next look. */
export function wakeFirst(backend: RecordBackend, tenant: string, name: string): void {
  queues.get(backend)?.get(keyOf(tenant, name))?.[0]?.wake();
}

function keyOf(tenant: string, name: string): string {
  return JSON.stringify([tenant, name]);
}
