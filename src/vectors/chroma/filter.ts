/**
 * Compiles a filter for the server. Every leaf asks for the field's type in `qm.types` beside its value, because the server
 * keeps values that an upsert left out, shows lists of deleted collections, and matches nothing by absence.
 */
import type { Where } from 'chromadb';
import { UnsupportedError } from '../../errors.js';
import type { PushedNode } from '../../filter/normalize.js';
import type { LeafNode, RangeOperator } from '../../filter/syntax.js';
import { metadataKey } from '../codec/filter.js';
import type { CompiledFilter } from '../provider.js';
import { ANY, LEAF_TYPES, scalarType, token, TYPES, type LeafType } from './record.js';

/** The server took 600 conditions, and answered 1,000 with an error. */
const MAX_CONDITIONS = 600;
/** The values of all conditions, each a variable of the server's SQL, which has 32,766 of them. */
const MAX_VALUES = 30_000;

/** Matches every record. */
export const EVERY: Where = has(ANY);

/** @throws `UNSUPPORTED` for more conditions or values than the server takes, before any I/O. */
export function compileFilter({ pushed }: CompiledFilter, component: string): Where {
  const where = compile(pushed);
  const { conditions, values } = sizeOf(where);
  if (conditions > MAX_CONDITIONS || values > MAX_VALUES)
    throw new UnsupportedError(
      `filter: Chroma takes at most ${MAX_CONDITIONS} conditions of ${MAX_VALUES} values, and this filter needs ${conditions} of ${values}`,
      { component, details: { conditions, values } },
    );
  return where;
}

function compile(node: PushedNode): Where {
  if (node.op !== 'leaf') return group(node.op, node.nodes.map(compile));
  return compileLeaf(node.leaf, node.negated);
}

function compileLeaf(leaf: LeafNode, negated: boolean): Where {
  switch (leaf.op) {
    case 'eq':
      return typed(scalarType(leaf.value), metadataKey(leaf.field), negated, (key) => equals(key, leaf.value, negated));
    case 'in':
      return oneOf(metadataKey(leaf.field), leaf.values as readonly Scalar[], negated);
    case 'contains':
      return typed('l', metadataKey(leaf.field), negated, (key) =>
        condition(key, negated ? '$not_contains' : '$contains', leaf.value),
      );
    case 'exists': {
      const key = metadataKey(leaf.field);
      const tokens = LEAF_TYPES.map((type) => token(type, key));
      return negated ? group('and', tokens.map(lacks)) : group('or', tokens.map(has));
    }
    case 'gt':
    case 'gte':
    case 'lt':
    case 'lte': {
      // Ranges over strings are refused by the capabilities.
      const bound = leaf.value as number;
      return typed('n', metadataKey(leaf.field), negated, (key) =>
        range(key, negated ? OPPOSITE[leaf.op] : leaf.op, bound),
      );
    }
    case 'startsWith':
    case 'icontains':
    case 'text':
      throw new UnsupportedError(`filter: $${leaf.op} is not part of the language over metadata`);
  }
}

type Scalar = string | number | boolean;

const OPPOSITE = { gt: 'lte', gte: 'lt', lt: 'gte', lte: 'gt' } as const;

/** The field is of this type and its value meets `value`; or, negated, is not, or does not. */
function typed(type: LeafType, key: string, negated: boolean, value: (key: string) => Where): Where {
  return negated
    ? group('or', [lacks(token(type, key)), value(key)])
    : group('and', [has(token(type, key)), value(key)]);
}

/** The server wants the values of one `$in` to be of one type. */
function oneOf(key: string, values: readonly Scalar[], negated: boolean): Where {
  const types = (['n', 's', 'b'] as const).map((type) => {
    const own = values.filter((value) => scalarType(value) === type);
    const fractions = own.filter(isFraction);
    const others = own.filter((value) => !isFraction(value));
    const tests = [
      ...(others.length === 0 ? [] : [condition(key, negated ? '$nin' : '$in', others)]),
      ...fractions.map((fraction) => equals(key, fraction, negated)),
    ];
    return tests.length === 0 ? [] : [typed(type, key, negated, () => group(negated ? 'and' : 'or', tests))];
  });
  return group(negated ? 'and' : 'or', types.flat());
}

function isFraction(value: unknown): value is number {
  return typeof value === 'number' && !Number.isInteger(value);
}

/** The server compares integers with a fraction's whole part: 1 equals 1.5. */
function equals(key: string, value: unknown, negated: boolean): Where {
  const test = condition(key, negated ? '$ne' : '$eq', value);
  if (!isFraction(value)) return test;
  const whole = condition(key, negated ? '$eq' : '$ne', Math.trunc(value));
  return group(negated ? 'or' : 'and', [test, whole]);
}

function range(key: string, operator: RangeOperator, bound: number): Where {
  if (!isFraction(bound)) return condition(key, `$${operator}`, bound);
  const below = Math.floor(bound);
  switch (operator) {
    case 'gt':
      return group('or', [condition(key, '$gt', bound), condition(key, '$gte', below + 1)]);
    case 'lt':
      return group('or', [condition(key, '$lt', bound), condition(key, '$lte', below)]);
    case 'gte':
    case 'lte':
      return group('or', [range(key, operator === 'gte' ? 'gt' : 'lt', bound), equals(key, bound, false)]);
  }
}

function has(entry: string): Where {
  return condition(TYPES, '$contains', entry);
}

function lacks(entry: string): Where {
  return condition(TYPES, '$not_contains', entry);
}

function condition(key: string, operator: string, operand: unknown): Where {
  return { [key]: { [operator]: operand } } as Where;
}

/** The client refuses a group of one. */
function group(op: 'and' | 'or', nodes: readonly Where[]): Where {
  return nodes.length === 1 ? nodes[0]! : ({ [`$${op}`]: nodes } as unknown as Where);
}

interface Size {
  readonly conditions: number;
  readonly values: number;
}

function sizeOf(where: object): Size {
  const [[key, operand] = ['', {}]] = Object.entries(where) as [string, object][];
  if (key !== '$and' && key !== '$or') {
    const [value] = Object.values(operand) as unknown[];
    return { conditions: 1, values: Array.isArray(value) ? value.length : 1 };
  }
  return (operand as object[]).map(sizeOf).reduce((sum, { conditions, values }) => ({
    conditions: sum.conditions + conditions,
    values: sum.values + values,
  }));
}
