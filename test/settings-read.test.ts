/** A setting that nobody reads promises what does not happen. */
import { expect, test } from '@jest/globals';
import { STORE_SETTINGS } from '../src/adapters/settings.js';
import type { SettingsFragment } from '../src/component.js';
import { registry } from '../src/registry.js';
import { loadSettings } from '../src/settings.js';
import { poolDrivers, providerDrivers } from './support/drivers.js';
import { readTypeScript } from './support/project.js';

const COMMENT = /\/\*[\s\S]*?\*\/|\/\/.*$/gm;
const SOURCES = [...readTypeScript('src')]
  .filter(([path]) => path !== 'adapters/settings.ts' && !path.startsWith('settings'))
  .map(([path, text]) => ({ path, code: text.replace(COMMENT, '') }));

/** As the member of an object that is read or taken apart; not where one is declared, or given a value. */
const reads = (code: string, name: string): boolean =>
  new RegExp(`(?:\\.|[{,]\\s*)${name}\\b(?!\\s*:\\s*[\\d'"\`{])`).test(code);

/** The names of the leaves. */
function leaves(fragment: SettingsFragment): string[] {
  return Object.entries(fragment).flatMap(([key, entry]) =>
    typeof entry['doc'] === 'string' ? [key] : leaves(entry as SettingsFragment),
  );
}

const { health, lifecycle } = await loadSettings({ registry, environment: {} });
const GROUPS = Object.entries({ ...STORE_SETTINGS, health, lifecycle });
const KEYS = GROUPS.flatMap(([group, keys]) => Object.keys(keys).map((key) => [group, key]));

test.each(KEYS)('%s.%s is read', (group, key) => {
  // A piece may be given the settings of its group, and says so by their type.
  const isOf = (code: string): boolean => reads(code, group) || code.includes(`StoreSettings['${group}']`);
  expect(SOURCES.some(({ code }) => isOf(code) && reads(code, key))).toBe(true);
});

const DRIVERS = [
  ...(await poolDrivers()).map((driver) => ({ ...driver, folders: [`pools/${driver.name}`] })),
  ...(await providerDrivers()).map((driver) => ({ ...driver, folders: [`vectors/${driver.name}`, 'vectors/remote'] })),
];
const OPTIONS = DRIVERS.flatMap(({ name, settings = {}, folders }) =>
  leaves(settings).map((key): [string, string, readonly string[]] => [name, key, folders]),
);

test.each(OPTIONS)('the option of %s that is named %s is read where it is implemented', (_name, key, folders) => {
  const own = SOURCES.filter(({ path }) => folders.some((folder) => path.startsWith(folder)));
  expect(own.some(({ code }) => reads(code, key))).toBe(true);
});
