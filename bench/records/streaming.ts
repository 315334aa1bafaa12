/**
 * How much memory an iterator over 100,000 records holds: `npm run bench:streaming [-- URL]`, default an SQLite file.
 * Prints the megabytes above the start, after a collection of garbage, at their highest.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openStorage } from 'quartermaster';
import { Orders, valueOf } from './orders.js';

const COUNT = 100_000;
const folder = mkdtempSync(join(tmpdir(), 'bench-'));
const url = process.argv[2] ?? `sqlite:${join(folder, 'file.db')}`;
const collect = (globalThis as { gc?: () => void }).gc;
if (collect === undefined) throw new Error('run node with --expose-gc');

const heap = (): number => {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return (heapUsed + external) / 1_048_576;
};
{
  await using storage = await openStorage({ databases: { main: url } }, { environment: {} });
  const orders = storage.collection(Orders);
  const rows = function* () {
    for (let i = 0; i < COUNT; i++) yield { id: `r${i}`, value: valueOf(i) };
  };
  await orders.load(rows());
  const start = heap();
  let highest = 0;
  let seen = 0;
  for await (const record of orders.each({ total: { $gte: 0 } })) {
    if (record.id === '') throw new Error('no id');
    if (++seen % 5_000 === 0) highest = Math.max(highest, heap() - start);
  }
  console.log(`${seen} records streamed, at most ${highest.toFixed(1)} MB above the start`);
  await orders.deleteWhere({ all: true });
}
rmSync(folder, { recursive: true });
