import { describe, expect, test } from '@jest/globals';
import { cosine, nearest, readWordnet, WORDNET_DIMENSION } from '../examples/wordnet.js';

describe('the WordNet fixture', () => {
  test('has whole records with embeddings of length 1', async () => {
    const { definitions, queries } = await readWordnet();
    expect([definitions.length, queries.length]).toEqual([2000, 20]);
    expect(new Set([...definitions, ...queries].map(({ id }) => id)).size).toBe(2020);
    for (const { vector } of [...definitions, ...queries]) {
      expect(vector).toHaveLength(WORDNET_DIMENSION);
      expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
    }
  });

  test('has the parts that examples filter by, as its README counts them', async () => {
    const { definitions } = await readWordnet();
    const count = (keep: (definition: (typeof definitions)[number]) => boolean): number =>
      definitions.filter(keep).length;
    expect(count(({ partOfSpeech }) => partOfSpeech === 'verb')).toBe(231);
    expect(count(({ domain }) => domain === 'noun.food')).toBe(45);
    expect(count(({ links, example }) => links >= 10 && example)).toBe(47);
  });

  test('pairs each text with its own embedding', async () => {
    const { definitions, queries } = await readWordnet();
    const about = (text: string): string[] => {
      const query = queries.find((candidate) => candidate.text.includes(text))!;
      return nearest(definitions, query.vector, 3).map(({ id }) => definitions.find((d) => d.id === id)!.definition);
    };
    for (const { text } of queries.slice(0, 5)) expect(about(text)).toHaveLength(3);
    const { vector, id } = definitions[7]!;
    expect(nearest(definitions, vector, 1)).toEqual([{ id, score: cosine(vector, vector) }]);
  });
});
