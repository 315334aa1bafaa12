/** How many of the ten nearest a search finds, and how many searches there are in a second, under filters of many sizes. */
import { openStorage, type Filter, type Metadata } from 'quartermaster';
import { withDatabase } from '../records/database.js';
import { fill, NAME, readData } from './wordnet.js';

export function benchRecall(): Promise<void> {
  return withDatabase(async (url) => {
    const data = await readData();
    await using storage = await openStorage({ databases: { main: url } }, { environment: {} });
    const vectors = storage.vectors();
    await fill(vectors, data);
    const search = (vector: Float32Array, filter: Filter<Metadata>, exact = false) =>
      vectors.search(NAME, { vector, filter, exact, include: { metadata: false, text: false } });
    const rare: Filter<Metadata> = { rare: true };
    const exact: string[][] = [];
    for (const query of data.queries) exact.push((await search(query, rare, true)).map(({ id }) => id));
    const filters = [
      ...Object.entries(data.answers),
      [
        'rare (scattered)',
        { filter: rare, matching: data.records.filter((_, i) => i % 1_000 === 7).length, top10: exact },
      ],
    ] as const;
    console.log('\n| filter | matching | recall@10 | searches a second | of the unfiltered |\n|---|---|---|---|---|');
    let unfiltered: number | undefined;
    for (const [name, { filter, matching, top10 }] of filters) {
      let found = 0;
      let wanted = 0;
      for (const query of data.queries.slice(0, 50)) await search(query, filter);
      const started = performance.now();
      for (const [i, query] of data.queries.entries()) {
        const ids = new Set((await search(query, filter)).map(({ id }) => id));
        found += top10[i]!.filter((id) => ids.has(id)).length;
        wanted += top10[i]!.length;
      }
      const perSecond = (data.queries.length * 1_000) / (performance.now() - started);
      unfiltered ??= perSecond;
      const figures = [
        matching,
        (found / wanted).toFixed(3),
        perSecond.toFixed(0),
        (perSecond / unfiltered).toFixed(2),
      ];
      console.log(`| ${name} | ${figures.join(' | ')} |`);
    }
  });
}
