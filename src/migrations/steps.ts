/** A host's steps: how they are written, what is refused of them before any I/O, and what tells that one has changed. */
import { createHash } from 'node:crypto';
import { checkKnown, invalid } from '../errors.js';
import { isList, isPlainObject } from '../filter/json.js';
import { controlStatement } from './statements.js';

/** What a step runs: statements of SQL, or a function that gets the transaction. */
export type StepWork<Tx> = string | ((tx: Tx) => Promise<unknown>);

export interface MigrationStep<Tx> {
  /** A whole number above 0, greater than that of the step before. */
  readonly version: number;
  /** `[a-z0-9][a-z0-9_-]{0,63}` */
  readonly name: string;
  readonly up: StepWork<Tx>;
  /** Takes back what `up` did. A step without it cannot be taken back. */
  readonly down?: StepWork<Tx> | undefined;
  /**
   * Stands for what `up` does: change it when that changes. Default: the SQL text, or the function's source text
   * (`toString()`), which another compiler or a minifier writes differently.
   */
  readonly checksum?: string | undefined;
}

/** A step, checked. */
export interface CheckedStep<Tx> extends MigrationStep<Tx> {
  /** SHA-256, in hexadecimal. */
  readonly checksum: string;
}

const NAME = /^[a-z0-9][a-z0-9_-]{0,63}$/;
const KEYS = new Set(['version', 'name', 'up', 'down', 'checksum']);

/** @throws `VALIDATION` */
export function checkSteps<Tx>(steps: unknown): CheckedStep<Tx>[] {
  if (!isList(steps)) throw invalid('steps', steps, 'an array of steps');
  const names = new Set<string>();
  let last = 0;
  return steps.map((step, i) => {
    const at = `steps[${i}]`;
    if (!isPlainObject(step)) throw invalid(at, step, 'an object of version, name, up and down');
    checkKnown(step, KEYS, at);
    const { version, name, up, down, checksum } = step;
    if (typeof version !== 'number' || !Number.isSafeInteger(version) || version < 1)
      throw invalid(`${at}.version`, version, 'a whole number above 0');
    if (version <= last) throw invalid(`${at}.version`, version, `a version above ${last}, that of the step before`);
    if (typeof name !== 'string' || !NAME.test(name))
      throw invalid(`${at}.name`, name, 'a name of the form [a-z0-9][a-z0-9_-]{0,63}');
    if (names.has(name)) throw invalid(`${at}.name`, name, 'a name that no other step has');
    checkWork(up, `${at}.up`);
    if (down !== undefined) checkWork(down, `${at}.down`);
    if (checksum !== undefined && (typeof checksum !== 'string' || checksum === ''))
      throw invalid(`${at}.checksum`, checksum, 'a text');
    last = version;
    names.add(name);
    const work = { version, name, up: up as StepWork<Tx>, checksum: checksumOf(checksum ?? String(up)) };
    return down === undefined ? work : { ...work, down: down as StepWork<Tx> };
  });
}

/** Whether some step is a function, and so works with the data of a tenant. */
export function hasFunctions(steps: unknown): boolean {
  const isOne = (step: unknown): boolean =>
    isPlainObject(step) && (typeof step['up'] === 'function' || typeof step['down'] === 'function');
  return isList(steps) && steps.some(isOne);
}

function checkWork(work: unknown, at: string): void {
  if (typeof work !== 'function' && (typeof work !== 'string' || work.trim() === ''))
    throw invalid(at, work, 'the text of SQL statements, or a function');
  const control = typeof work === 'string' ? controlStatement(work) : undefined;
  if (control !== undefined)
    throw invalid(at, work, `SQL that leaves the transaction to the library (it has a statement ${control})`);
}

/** The ends of lines do not count: the same file is checked out with others on Windows. */
function checksumOf(text: string): string {
  return createHash('sha256').update(text.replaceAll('\r\n', '\n')).digest('hex');
}
