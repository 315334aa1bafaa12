/** The domain stores beside the raw driver: `npm run bench:stores [-- kv]`. `docs/benchmarks.md` tells what is measured. */
import { print, type Row } from '../measure.js';
import { benchKv } from './kv.js';

const BENCHES: Readonly<Record<string, () => Promise<Row[]>>> = { kv: benchKv };

const asked = process.argv.slice(2);
for (const [name, bench] of Object.entries(BENCHES))
  if (asked.length === 0 || asked.includes(name)) {
    console.log(`\n${name}`);
    print('us', await bench());
  }
