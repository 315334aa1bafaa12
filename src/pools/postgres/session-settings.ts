/**
 * Settings of the server's session that results depend on. They are said when a connection opens; whether they arrived is
 * asked at each check, because a pooler lets none pass, and some drop them without a word.
 */
import { StorageError } from '../../errors.js';

interface Pinned {
  readonly name: string;
  readonly value: string;
  /** In SQL, over the setting's text. */
  readonly holds: (setting: string) => string;
}

const is = (value: string) => (setting: string) => `${setting} = '${value}'`;

/** Not `default_transaction_read_only`: a server that was told to accept no writes is reported as such. */
const PINNED: readonly Pinned[] = [
  { name: 'DateStyle', value: 'ISO', holds: (setting) => `${setting} LIKE 'ISO%'` },
  // Below 1 numbers lose digits on their way into JSON.
  { name: 'extra_float_digits', value: '1', holds: (setting) => `${setting}::int >= 1` },
  { name: 'bytea_output', value: 'hex', holds: is('hex') },
  // Without it a backslash in a literal is no backslash.
  { name: 'standard_conforming_strings', value: 'on', holds: is('on') },
  // Statements by themselves wait for one another; above it they would fail instead.
  { name: 'default_transaction_isolation', value: 'read committed', holds: is('read committed') },
];

/** For the server's command line. */
export const PINNED_OPTIONS = PINNED.map(({ name, value }) => `-c ${name}=${value.replaceAll(' ', '\\ ')}`).join(' ');

/** Columns of a question: `amiss` names what does not hold, with its value; `database` says where. */
export const SETTINGS_COLUMNS =
  `array_remove(ARRAY[${PINNED.map(({ name, holds }) => amissOf(name, holds)).join(', ')}], NULL) AS amiss, ` +
  'current_database()::text AS database';

function amissOf(name: string, holds: Pinned['holds']): string {
  const setting = `current_setting('${name}')`;
  return `CASE WHEN NOT (${holds(setting)}) THEN '${name}=' || ${setting} END`;
}

/** @throws `CONFIGURATION` when a setting does not hold, with the statements that mend it. */
export function requireSettings(row: Readonly<Record<string, unknown>>, component: string): void {
  const amiss = row['amiss'] as readonly string[];
  if (amiss.length === 0) return;
  const found = new Map(amiss.map((entry) => entry.split('=') as [string, string]));
  const wrong = PINNED.filter(({ name }) => found.has(name));
  const database = `"${String(row['database']).replaceAll('"', '""')}"`;
  const told = wrong.map(({ name, value }) => `${name} is '${found.get(name)!}' and must be '${value}'`).join(', ');
  const mend = wrong.map(({ name, value }) => `ALTER DATABASE ${database} SET ${name} = '${value}'`).join('; ');
  throw new StorageError(
    'CONFIGURATION',
    `Results would be wrong: ${told}. Say: ${mend} (ALTER ROLE where a role has the setting), and let a pooler connect anew`,
    { component, operation: 'open', details: { settings: Object.fromEntries(found) } },
  );
}
