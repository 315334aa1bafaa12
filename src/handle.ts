/** What a host holds of the library, shown by what it names and never by what it stands on, which may hold a secret. */
import { inspect, type InspectOptions } from 'node:util';

export abstract class Handle {
  abstract toJSON(): Record<string, unknown>;

  [inspect.custom](_depth: number, options: InspectOptions): string {
    return `${this.constructor.name} ${inspect(this.toJSON(), { ...options, depth: 6 })}`;
  }
}
