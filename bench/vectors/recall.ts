/** How many of the ten nearest a search finds, and how many searches there are in a second, under filters of many sizes. */
import { openStorage, type Filter, type Metadata, type VectorStore } from 'quartermaster';
import { withDatabase } from '../records/database.js';
import { fill, NAME, readData, type Data } from './wordnet.js';

/** The ids that a store answers for a query, by its number. */
export type Search = (query: number, filter: Filter<Metadata>) => Promise<readonly string[]>;

export interface Recall {
  readonly filter: string;
  readonly matching: number;
  /** Of the ten exact answers, over all queries: 0 to 1. */
  readonly recall: number;
  /** Milliseconds of each search. */
  readonly times: readonly number[];
}

const WARM_UP = 50;

export function benchRecall(): Promise<void> {
  return withDatabase(async (url) => {
    await using storage = await openStorage({ databases: { main: url } }, { environment: {} });
    const vectors = storage.vectors();
    const data = await fillWithRare(vectors);
    printRecall('recall', await measureRecall(data, searchOf(vectors, data)));
  });
}

/** The data in their collection, with the exact answers of one filter more: a scattered one in a thousand. */
export async function fillWithRare(vectors: VectorStore): Promise<Data> {
  const data = await readData();
  await fill(vectors, data);
  const filter: Filter<Metadata> = { rare: true };
  const search = searchOf(vectors, data, true);
  const top10: (readonly string[])[] = [];
  for (const i of data.queries.keys()) top10.push(await search(i, filter));
  const matching = await vectors.count(NAME, filter);
  return { ...data, answers: { ...data.answers, 'rare (scattered)': { filter, matching, top10 } } };
}

export function searchOf(vectors: VectorStore, { queries }: Data, exact = false): Search {
  const include = { metadata: false, text: false };
  return async (i, filter) => {
    const hits = await vectors.search(NAME, { vector: queries[i]!, filter, exact, include });
    return hits.map(({ id }) => id);
  };
}

/** One search at a time. */
export async function measureRecall({ queries, answers }: Data, search: Search): Promise<Recall[]> {
  const rows: Recall[] = [];
  for (const [name, { filter, matching, top10 }] of Object.entries(answers)) {
    let found = 0;
    let wanted = 0;
    for (let i = 0; i < WARM_UP; i++) await search(i, filter);
    const times: number[] = [];
    for (const i of queries.keys()) {
      const started = performance.now();
      const ids = new Set(await search(i, filter));
      times.push(performance.now() - started);
      found += top10[i]!.filter((id) => ids.has(id)).length;
      wanted += top10[i]!.length;
    }
    rows.push({ filter: name, matching, recall: found / wanted, times });
  }
  return rows;
}

export function perSecond({ times }: Recall): number {
  return (times.length * 1_000) / times.reduce((sum, time) => sum + time, 0);
}

/** The first row is the unfiltered one. */
export function printRecall(title: string, rows: readonly Recall[]): void {
  console.log(`\n| ${title} | matching | recall@10 | searches a second | of the unfiltered |\n|---|---|---|---|---|`);
  for (const row of rows) {
    const { filter, matching, recall } = row;
    const speed = [perSecond(row).toFixed(0), (perSecond(row) / perSecond(rows[0]!)).toFixed(2)];
    console.log(`| ${[filter, matching, recall.toFixed(3), ...speed].join(' | ')} |`);
  }
}
