/** Metadata and filters over them as the service's documentation describes both, and what it refuses. */

export type Metadata = Readonly<Record<string, unknown>>;

/** What a request is refused with. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

const METADATA_BYTES = 40_960;

export function checkMetadata(metadata: Metadata): void {
  for (const [key, value] of Object.entries(metadata)) {
    if (key.startsWith('$')) throw new Refusal(400, `Metadata key cannot start with a dollar sign: ${key}`);
    const isList = Array.isArray(value) && value.every((item) => typeof item === 'string');
    if (!isList && !['string', 'number', 'boolean'].includes(typeof value))
      throw new Refusal(
        400,
        `Metadata value must be a string, number, boolean or list of strings, got '${JSON.stringify(value)}' for field '${key}'`,
      );
  }
  const bytes = Buffer.byteLength(JSON.stringify(metadata));
  if (bytes > METADATA_BYTES)
    throw new Refusal(
      400,
      `Metadata size is ${bytes} bytes, which exceeds the limit of ${METADATA_BYTES} bytes per vector`,
    );
}

/** Whether `$ne` and `$nin` match what lacks the field: they did once, and do not any more. */
export interface Reading {
  readonly missingIsUnequal: boolean;
}

/** @throws `Refusal` for what is no filter, whether or not a record meets it. */
export function compile(filter: unknown, reading: Reading): (metadata: Metadata) => boolean {
  if (!isObject(filter)) throw refuse('a filter is an object');
  const entries = Object.entries(filter);
  if (entries.length === 0) throw refuse('a filter has at least one condition');
  const terms = entries.map(([key, operand]) => compileEntry(key, operand, reading));
  return (metadata) => terms.every((term) => term(metadata));
}

function compileEntry(key: string, operand: unknown, reading: Reading): (metadata: Metadata) => boolean {
  if (key === '$and' || key === '$or') {
    if (!Array.isArray(operand) || operand.length === 0) throw refuse(`${key} takes a list of filters`);
    const terms = operand.map((child) => compile(child, reading));
    return (metadata) =>
      key === '$and' ? terms.every((term) => term(metadata)) : terms.some((term) => term(metadata));
  }
  if (key.startsWith('$')) throw refuse(`${key} is not a valid operator`);
  const operators = isObject(operand) ? Object.entries(operand) : [['$eq', operand] as const];
  if (operators.length === 0) throw refuse(`${key} has no operator`);
  const tests = operators.map(([operator, value]) => compileOperator(operator, value, reading));
  return (metadata) => tests.every((test) => test(Object.hasOwn(metadata, key) ? metadata[key] : undefined));
}

function compileOperator(operator: string, operand: unknown, reading: Reading): (value: unknown) => boolean {
  const isEqual = (value: unknown, other: unknown): boolean =>
    Array.isArray(value) ? value.includes(other) : value === other;
  switch (operator) {
    case '$eq':
    case '$ne': {
      if (!['string', 'number', 'boolean'].includes(typeof operand)) throw refuse(`${operator} takes a scalar`);
      if (operator === '$eq') return (value) => value !== undefined && isEqual(value, operand);
      return (value) => (value === undefined ? reading.missingIsUnequal : !isEqual(value, operand));
    }
    case '$in':
    case '$nin': {
      if (!Array.isArray(operand) || operand.length === 0 || operand.length > 10_000)
        throw refuse(`${operator} takes a list of 1 to 10000 values`);
      const types = new Set(operand.map((item) => typeof item));
      if (types.size > 1 || !(types.has('string') || types.has('number')))
        throw refuse(`${operator} takes strings or numbers`);
      const isIn = (value: unknown): boolean => operand.some((item) => isEqual(value, item));
      if (operator === '$in') return (value) => value !== undefined && isIn(value);
      return (value) => (value === undefined ? reading.missingIsUnequal : !isIn(value));
    }
    case '$gt':
    case '$gte':
    case '$lt':
    case '$lte': {
      if (typeof operand !== 'number') throw refuse(`${operator} takes a number`);
      const compare = { $gt: gt, $gte: gte, $lt: lt, $lte: lte }[operator];
      return (value) => typeof value === 'number' && compare(value, operand);
    }
    case '$exists':
      if (typeof operand !== 'boolean') throw refuse('$exists takes a boolean');
      return (value) => (value !== undefined) === operand;
    default:
      throw refuse(`${operator} is not a valid operator`);
  }
}

const gt = (a: number, b: number): boolean => a > b;
const gte = (a: number, b: number): boolean => a >= b;
const lt = (a: number, b: number): boolean => a < b;
const lte = (a: number, b: number): boolean => a <= b;

function refuse(message: string): Refusal {
  return new Refusal(400, `Invalid filter: ${message}`);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
