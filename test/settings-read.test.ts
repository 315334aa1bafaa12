/** A setting that nobody reads promises what does not happen. */
import { expect, test } from '@jest/globals';
import { STORE_SETTINGS } from '../src/adapters/settings.js';
import { readTypeScript } from './support/project.js';

const SOURCES = [...readTypeScript('src')].filter(([path]) => path !== 'adapters/settings.ts').map(([, text]) => text);
const KEYS = Object.entries(STORE_SETTINGS).flatMap(([group, keys]) => Object.keys(keys).map((key) => [group, key]));

test.each(KEYS)('%s.%s is read', (group, key) => {
  const isRead = (text: string): boolean =>
    new RegExp(`\\b${group}\\b`).test(text) && new RegExp(`\\b${key}\\b`).test(text);
  expect(SOURCES.some(isRead)).toBe(true);
});
