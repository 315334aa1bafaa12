/** What begins with a text, as JavaScript says, on every database: where the order of strings has its edges. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { successor } from '../src/filter/prefix.js';
import { compareText } from '../src/filter/evaluate.js';
import { defineCollection } from '../src/index.js';
import { storageTargets } from './support/storage-targets.js';
import { useStorage } from './support/use-storage.js';

const ENDS = ['', 'a', '~', '\u00a1', 'é', '\u07ff', '\u0800', '\ud7ff', '\ue000', '\ufffd', '\ufffe', '\uffff'];
const PAIRS = ['\u{10000}', '😀', '\u{dffff}', '\u{e0000}', '\u{10fffe}', '\u{10ffff}'];
const CHARACTERS = [...ENDS, ...PAIRS];
const TEXTS = [...new Set(CHARACTERS.flatMap((a) => CHARACTERS.map((b) => a + b)))];
const PREFIXES = [
  ...CHARACTERS,
  'a\ud7ff',
  'a\u{10ffff}',
  '\u{10ffff}\u{10ffff}',
  '\u{10ffff}'.repeat(3),
  '\ud7ff\ud7ff',
];

const Texts = defineCollection<{ declared: string; loose: string }>({
  name: 'prefixed',
  fields: { declared: 'string' },
  indexes: [{ keys: ['declared'] }],
  id: 'given',
});

test('the successor of a text is above all that begin with it, and above nothing else', () => {
  for (const prefix of PREFIXES) {
    const next = successor(prefix);
    if (next !== undefined) expect(next.isWellFormed()).toBe(true);
    for (const text of TEXTS) {
      const within = compareText(text, prefix) >= 0 && (next === undefined || compareText(text, next) < 0);
      expect([text, prefix, within]).toEqual([text, prefix, text.startsWith(prefix)]);
    }
  }
  expect([successor(''), successor('\u{10ffff}'), successor('a\u{10ffff}')]).toEqual([undefined, undefined, 'b']);
});

describe.each(storageTargets('prefixes'))('prefixes on $name', (target) => {
  const storage = useStorage(target);
  beforeAll(async () => {
    const texts = storage().collection(Texts);
    await Promise.all(TEXTS.map((text) => texts.save({ declared: text, loose: text }, { id: `x${text}` })));
  });

  test.each(PREFIXES.map((prefix) => [prefix]))('of %j', async (prefix) => {
    const texts = storage().collection(Texts);
    const expected = TEXTS.filter((text) => text.startsWith(prefix)).sort(compareText);
    const found = async (filter: object): Promise<string[]> => {
      const { items } = await texts.query(filter, { sort: { declared: 'asc' }, limit: 1_000 });
      return items.map(({ value }) => value.declared);
    };
    expect(await found({ declared: { $startsWith: prefix } })).toEqual(expected);
    expect(await found({ loose: { $startsWith: prefix } })).toEqual(expected);
    expect(await found({ id: { $startsWith: `x${prefix}` } })).toEqual(expected);
    expect(await texts.count({ declared: { $not: { $startsWith: prefix } } })).toBe(TEXTS.length - expected.length);
  });

  test('of 300,000 characters', async () => {
    const texts = storage().collection(Texts);
    const long = 'é\u{1f600}'.repeat(100_000);
    const { id } = await texts.save({ declared: 'long', loose: `${long}!` }, { id: 'y' });
    const { items } = await texts.query({ loose: { $startsWith: long } });
    expect(items.map((item) => item.id)).toEqual([id]);
    await texts.delete(id);
  });

  test('are paged through in their order', async () => {
    const texts = storage().collection(Texts);
    const expected = TEXTS.filter((text) => text.startsWith('\ud7ff')).sort(compareText);
    for (const direction of ['asc', 'desc'] as const) {
      const seen: string[] = [];
      let after: string | undefined;
      do {
        const options = { sort: { declared: direction }, limit: 4, ...(after === undefined ? {} : { after }) };
        const { items, next } = await texts.query({ declared: { $startsWith: '\ud7ff' } }, options);
        seen.push(...items.map(({ value }) => value.declared));
        after = next;
      } while (after !== undefined);
      expect(seen).toEqual(direction === 'asc' ? expected : expected.toReversed());
    }
  });
});
