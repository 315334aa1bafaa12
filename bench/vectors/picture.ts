/** Recall against speed at several `efSearch`, drawn into a page of the documentation: `npm run bench:vectors -- picture`. */
import { writeFile } from 'node:fs/promises';
import { openStorage } from 'quartermaster';
import { withDatabase } from '../records/database.js';
import { draw, type Line } from './chart.js';
import { fillWithRare, measureRecall, perSecond, printRecall, searchOf, type Recall } from './recall.js';

const FILE = new URL('../../../docs/recall.svg', import.meta.url);
const EF_SEARCH = [10, 20, 40, 100, 200, 400];
const ROUNDS = 4;

export function benchPicture(): Promise<void> {
  return withDatabase(async (url) => {
    const storages = await Promise.all(
      EF_SEARCH.map((efSearch) =>
        openStorage({ databases: { main: url }, vectors: { pgvector: { efSearch } } }, { environment: {} }),
      ),
    );
    const stores = storages.map((storage) => storage.vectors());
    const data = await fillWithRare(stores[0]!);
    const measured: (readonly Recall[])[] = [];
    for (let round = 0; round < ROUNDS; round++)
      for (const [i, vectors] of stores.entries())
        measured[i] = fastest(await measureRecall(data, searchOf(vectors, data)), measured[i]);
    await Promise.all(storages.map((storage) => storage.close()));
    for (const [i, rows] of measured.entries()) printRecall(`efSearch ${EF_SEARCH[i]}`, rows);
    const lines = measured[0]!.map(({ filter, matching }, row): Line => ({
      name: filter === 'none' ? 'no filter' : filter,
      note: `${matching.toLocaleString('en')} records`,
      points: measured.map((rows, i) => ({
        x: perSecond(rows[row]!),
        y: rows[row]!.recall,
        label: String(EF_SEARCH[i]!),
      })),
    }));
    await writeFile(FILE, draw(lines, { x: 'searches a second (logarithmic)', y: 'recall@10', label: 'efSearch' }));
  });
}

/** The fastest of each search's own: what else the machine does only ever slows one. */
function fastest(rows: readonly Recall[], before = rows): Recall[] {
  return rows.map((row, i) => ({ ...row, times: row.times.map((time, j) => Math.min(time, before[i]!.times[j]!)) }));
}
