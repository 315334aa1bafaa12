/** Random records, filters, sorts and patches, reproducible by seed. */
import type { JsonObject, JsonValue, PatchChanges } from '../../../src/backends/backend.js';
import { patchTree } from '../../../src/backends/patch.js';
import { parseSort, type SortKey } from '../../../src/filter/cursor.js';
import type { Scalar } from '../../../src/filter/syntax.js';
import { at, domain } from './fixture.js';

const STRINGS = ['', 'a', 'A', 'B', 'ab', 'é', 'É', '😀', '\uffff', "q'q", 'x\\y', '[1]', '1', 'a"b', '{x,y}', 'NULL'];
const NUMBERS = [0, 1, -1, 0.1, 5e-324, -5e-324, 1.7976931348623157e308, 2 ** 60 + 256, 0.3112906610273454, 1e22, 7];
export const DATES = [
  at(0),
  at(1),
  at(86_400_000),
  new Date('0000-03-01T00:00:00.000Z'),
  new Date('9999-12-31T23:59:59.999Z'),
];
const PATHS = ['s', 'n', 'b', 'd', 'o', 'o.s', 'o.t', 'u', 'u.0', 'u.a', "q'k", 'toString', 'constructor'];

export class Draw {
  constructor(readonly next: () => number) {}
  pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.next() * items.length)]!;
  }
  maybe(p: number): boolean {
    return this.next() < p;
  }
  scalar(): Scalar {
    return this.pick<() => Scalar>([
      () => null,
      () => this.maybe(0.5),
      () => this.pick(NUMBERS),
      () => this.pick(STRINGS),
    ])();
  }
  json(depth = 0): JsonValue {
    if (depth > 2 || this.maybe(0.6)) return this.scalar();
    if (this.maybe(0.5)) return Array.from({ length: Math.floor(this.next() * 3) }, () => this.json(depth + 1));
    return Object.fromEntries(['a', '0', 's', 't'].filter(() => this.maybe(0.4)).map((k) => [k, this.json(depth + 1)]));
  }
  value(): JsonObject {
    const value: Record<string, JsonValue> = {};
    const declared = <T extends JsonValue>(key: string, items: readonly T[]): void => {
      if (this.maybe(0.7)) value[key] = this.maybe(0.2) ? null : this.pick(items);
    };
    declared('s', STRINGS);
    declared('n', NUMBERS);
    declared('b', [true, false]);
    declared(
      'd',
      DATES.map((date) => date.toISOString()),
    );
    if (this.maybe(0.6)) {
      const o: Record<string, JsonValue> = {};
      if (this.maybe(0.7)) o['s'] = this.maybe(0.2) ? null : this.pick(STRINGS);
      if (this.maybe(0.5)) o['t'] = `${this.pick(STRINGS)} und ${this.pick(STRINGS)}`;
      value['o'] = this.maybe(0.1) ? this.scalar() : o;
    }
    for (const key of ['u', "q'k", 'toString', 'constructor']) if (this.maybe(0.4)) value[key] = this.json();
    return value;
  }
  operand(path: string): unknown {
    if (path === 'd' || /At$/.test(path)) return this.maybe(0.1) ? null : this.pick(DATES);
    if (path === 'id') return this.maybe(0.8) ? this.pick(['r1', 'r3', 'r10']) : this.scalar();
    if (path === 'version') return this.pick([1, 2, 1.5, 1e300, 'x']);
    return this.scalar();
  }
  filter(depth = 0): Record<string, unknown> {
    if (depth < 3 && this.maybe(0.4)) {
      const children = Array.from({ length: Math.floor(this.next() * 3) }, () => this.filter(depth + 1));
      return this.pick([{ $and: children }, { $or: children }, { $not: this.filter(depth + 1) }]);
    }
    if (this.maybe(0.07)) return { $text: this.pick(['und', 'a', 'É und', 'x', '']) };
    const path = this.pick([...PATHS, 'id', 'version', 'createdAt', 'updatedAt', 'expiresAt']);
    const operator = this.pick(
      ['$eq $ne $in $nin $gt $gte $lt $lte $exists $contains $startsWith $icontains'.split(' ')].flat(),
    );
    let operand: unknown = this.operand(path);
    if (operator === '$in' || operator === '$nin')
      operand = Array.from({ length: Math.floor(this.next() * 4) }, () => this.operand(path));
    else if (operator === '$exists') operand = this.maybe(0.5);
    else if (operator === '$contains') operand = this.scalar();
    else if (operator === '$startsWith' || operator === '$icontains') operand = this.pick(STRINGS);
    else if (/\$[gl]t/.test(operator) && (operand === null || typeof operand === 'boolean'))
      operand = path === 'd' || /At$/.test(path) ? DATES[0] : 1;
    return { [path]: { [operator]: operand } };
  }
  sort(): SortKey[] {
    const sort: Record<string, string> = {};
    for (let i = Math.floor(this.next() * 4); i > 0; i--)
      sort[this.pick(['s', 'n', 'b', 'd', 'o.s', 'id', 'version', 'createdAt', 'expiresAt'])] = this.pick([
        'asc',
        'desc',
      ]);
    const keys = Object.entries(sort);
    const id = keys.findIndex(([key]) => key === 'id');
    return parseSort(Object.fromEntries(id < 0 ? keys : keys.slice(0, id + 1)), domain);
  }
}

const CHANGE_PATHS = [
  'n',
  'u',
  'u.a',
  'u.0.x',
  'u.0.y',
  'o.s',
  "q'k",
  'deep.er.still',
  'deep.er.most',
  'toString.a',
  '0',
  'constructor',
];

export function drawChanges(draw: Draw): PatchChanges {
  for (;;) {
    const changes: {
      set: Record<string, JsonValue>;
      unset: string[];
      increment: Record<string, number>;
      push: Record<string, JsonValue>;
    } = { set: {}, unset: [], increment: {}, push: {} };
    for (let i = 1 + Math.floor(draw.next() * 4); i > 0; i--) {
      const path = draw.pick(CHANGE_PATHS);
      draw.pick([
        () => (changes.set[path] = draw.json()),
        () => changes.unset.push(path),
        () => (changes.increment[path] = draw.pick([...NUMBERS, -1.7976931348623157e308])),
        () => (changes.push[path] = draw.json()),
      ])();
    }
    if (!('overlap' in patchTree(changes))) return changes;
  }
}
