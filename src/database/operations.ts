/** `storage.operations()`: the operations of one database, each checked, admitted and refused where there is none. */
import {
  OPERATION_NAMES,
  OPERATIONS,
  type BackendOperations,
  type OperationName,
  type Operations,
} from '../backends/operations.js';
import type { BeginOperation, CallOptions, OperationContext } from '../component.js';
import { runAdmitted } from '../operation.js';
import { invalid, unknownKey, UnsupportedError } from '../errors.js';
import { isList, isPlainObject } from '../filter/json.js';

/** Milliseconds: long enough for the largest table, and never for ever. */
const LONG = 7 * 24 * 3_600_000;

type Implementation = (options: object, context: OperationContext) => Promise<unknown>;

export function operationsOf(database: string, implemented: BackendOperations, begin: BeginOperation): Operations {
  const run = async (name: OperationName, options: unknown): Promise<unknown> => {
    const implementation = implemented[name] as Implementation | undefined;
    if (implementation === undefined)
      throw new UnsupportedError(`The database ${database} has no operation ${name}`, { operation: name });
    const { signal, timeout, ...checked } = checkOptions(name, options);
    const limit = timeout ?? (OPERATIONS[name].long ? LONG : undefined);
    const bounds: CallOptions = {
      ...(signal === undefined ? {} : { signal }),
      ...(limit === undefined ? {} : { timeout: limit }),
    };
    return runAdmitted(begin, name, bounds, (context) => implementation(checked, context));
  };
  const called = OPERATION_NAMES.map((name) => [name, (options?: unknown) => run(name, options)] as const);
  const capabilities = OPERATION_NAMES.map((name) => [name, implemented[name] !== undefined] as const);
  return Object.freeze({
    database,
    capabilities: Object.freeze(Object.fromEntries(capabilities)),
    ...Object.fromEntries(called),
  }) as unknown as Operations;
}

const NAME = /^[a-z][a-z0-9_]{0,47}$/;
const EXTENSION = /^[a-z][a-z0-9_-]{0,62}$/;

/** What each option must be; those that are asked for must be there. */
const CHECKS: Readonly<Record<string, { readonly expected: string; readonly fits: (value: unknown) => boolean }>> = {
  exact: { expected: 'true or false', fits: isBoolean },
  full: { expected: 'true or false', fits: isBoolean },
  analyze: { expected: 'true or false', fits: isBoolean },
  longerThan: {
    expected: 'a number of milliseconds, 0 or more',
    fits: (value) => typeof value === 'number' && value >= 0 && value < Infinity,
  },
  limit: {
    expected: 'a whole number from 1 to 10000',
    fits: (value) => Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 10_000,
  },
  collection: {
    expected: 'the name of a collection, or what defineCollection gives',
    fits: (value) => typeof value === 'string' && NAME.test(value),
  },
  names: {
    expected: 'an array of names of extensions',
    fits: (value) =>
      isList(value) && value.length > 0 && value.every((name) => typeof name === 'string' && EXTENSION.test(name)),
  },
  index: {
    expected: 'an index as indexes() gives it: { schema?, name }',
    fits: (value) =>
      typeof value === 'object' &&
      value !== null &&
      isText((value as { name?: unknown }).name) &&
      ['undefined', 'string'].includes(typeof (value as { schema?: unknown }).schema),
  },
  file: { expected: "a file's path", fits: (value) => isText(value) && !value.includes('\0') },
};
const REQUIRED: Partial<Record<OperationName, string>> = { ensureExtensions: 'names', backup: 'file' };

function isBoolean(value: unknown): boolean {
  return typeof value === 'boolean';
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

function checkOptions(name: OperationName, options: unknown): CallOptions & Record<string, unknown> {
  const given = options ?? {};
  if (!isPlainObject(given)) throw invalid('options', given, 'an object');
  const { keys } = OPERATIONS[name];
  const checked: Record<string, unknown> = {};
  for (const [key, raw] of Object.entries(given)) {
    if (raw === undefined) continue;
    const value = key === 'collection' ? nameOf(raw) : raw;
    if (key !== 'signal' && key !== 'timeout') {
      if (!keys.includes(key)) throw unknownKey(key, ['signal', 'timeout', ...keys]);
      const { expected, fits } = CHECKS[key]!;
      if (!fits(value)) throw invalid(key, raw, expected);
    }
    checked[key] = value;
  }
  const required = REQUIRED[name];
  if (required !== undefined && checked[required] === undefined)
    throw invalid(required, undefined, CHECKS[required]!.expected);
  if (name === 'reindex' && (checked['collection'] === undefined) === (checked['index'] === undefined))
    throw invalid('options', given, 'one of collection and index');
  return checked;
}

function nameOf(collection: unknown): unknown {
  return typeof collection === 'object' && collection !== null ? (collection as { name?: unknown }).name : collection;
}
