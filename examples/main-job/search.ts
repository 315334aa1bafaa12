/** Search by meaning, beside the exact answer that is worked out here from the same data. */
import type { StorageManager } from 'quartermaster';
import { nearest, type Definition, type Embedded, type Query } from '../wordnet.js';
import { heading, shorten, table } from './print.js';

interface NamedFilter {
  readonly name: string;
  readonly filter: Readonly<Record<string, unknown>>;
  readonly matches: (definition: Definition) => boolean;
}

export const FILTERS: readonly NamedFilter[] = [
  { name: 'all', filter: {}, matches: () => true },
  { name: 'partOfSpeech = verb', filter: { partOfSpeech: 'verb' }, matches: (d) => d.partOfSpeech === 'verb' },
  { name: 'domain = noun.food', filter: { domain: 'noun.food' }, matches: (d) => d.domain === 'noun.food' },
  {
    name: 'links >= 10 and example',
    filter: { links: { $gte: 10 }, example: true },
    matches: (d) => d.links >= 10 && d.example,
  },
];

export async function searchByMeaning(
  storage: StorageManager,
  definitions: readonly Embedded<Definition>[],
  query: Embedded<Query>,
  filters: readonly NamedFilter[],
  top: number,
): Promise<void> {
  heading(`Nearest to "${query.text}" (held out: ${query.words.join(', ')})`);
  const byId = new Map(definitions.map((definition) => [definition.id, definition]));
  const rows: string[][] = [];
  for (const { name, filter, matches } of filters) {
    const hits = await storage.vectors().search('words', { vector: query.vector, topK: top, filter });
    const exact = nearest(definitions.filter(matches), query.vector, top);
    for (let i = 0; i < Math.max(hits.length, exact.length); i++) {
      const hit = hits[i];
      const right = exact[i];
      const found = hit === undefined ? undefined : byId.get(hit.id);
      rows.push([
        i === 0 ? name : '',
        found === undefined ? '' : shorten(`${found.words.join(', ')}: ${found.definition}`, 60),
        hit === undefined ? '' : hit.score.toFixed(4),
        right === undefined ? '' : right.score.toFixed(4),
        hit !== undefined && exact.some(({ id }) => id === hit.id) ? 'yes' : 'no',
      ]);
    }
  }
  table(['filter', 'found', 'score', 'exact', 'in the exact answer'], rows);
}
