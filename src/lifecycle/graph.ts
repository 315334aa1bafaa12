import type { Timer } from '../clock.js';
import type { Component } from '../component.js';
import { StorageError } from '../errors.js';

/** One component of a manager, and how the manager depends on it. */
export interface Managed {
  readonly component: Component;
  /** Whether the opening fails when this one does. One that is not critical is tried again in the background. */
  readonly critical: boolean;
  /** Names of the components it rides on: opened before it, closed after it. */
  readonly after?: readonly string[];
}

/**
 * `pending`: waits for what it rides on. `retrying`: not critical, failed, tried again in the background. `failed`: does
 * not open, or waits for something it rides on to heal.
 */
export type ComponentState = 'pending' | 'opening' | 'open' | 'retrying' | 'failed' | 'closed';

/** A component among those it rides on and those that ride on it, and what has become of it. */
export interface Node {
  readonly managed: Managed;
  readonly bases: Node[];
  readonly riders: Node[];
  state: ComponentState;
  error?: StorageError | undefined;
  first?: Promise<void>;
  /** The opening that runs now; it never rejects, and settles after a late result has been closed. */
  attempt?: Promise<void> | undefined;
  retry?: Timer;
  failures: number;
  /** Whether it has been told that it does not open, since it did last. */
  told?: boolean;
  closing?: Promise<void>;
}

/**
 * Ties the components to each other by `after`.
 * @throws `CONFIGURATION` for two of one name, an unknown name in `after`, or a circle.
 */
export function connect(managed: readonly Managed[]): Node[] {
  const nodes = new Map<string, Node>();
  for (const one of managed) {
    const { name } = one.component;
    if (nodes.has(name)) throw new StorageError('CONFIGURATION', `Two components have the name ${name}`);
    nodes.set(name, { managed: one, bases: [], riders: [], state: 'pending', failures: 0 });
  }
  for (const [name, node] of nodes)
    for (const after of node.managed.after ?? []) {
      const base = nodes.get(after);
      if (base === undefined)
        throw new StorageError('CONFIGURATION', `The component ${name} rides on ${after}, which is not there`);
      node.bases.push(base);
      base.riders.push(node);
    }
  refuseCircles(nodes);
  return [...nodes.values()];
}

function refuseCircles(nodes: ReadonlyMap<string, Node>): void {
  const clear = new Set<Node>();
  const visit = (node: Node, path: readonly Node[]): void => {
    if (clear.has(node)) return;
    if (path.includes(node)) {
      const names = [...path.slice(path.indexOf(node)), node].map((one) => one.managed.component.name);
      throw new StorageError('CONFIGURATION', `Components ride on each other in a circle: ${names.join(' -> ')}`);
    }
    for (const base of node.bases) visit(base, [...path, node]);
    clear.add(node);
  };
  for (const node of nodes.values()) visit(node, []);
}
