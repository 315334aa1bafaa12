/** The unit of work beside a client of `pg`: `npm run bench:unit-of-work [-- transactions]`. `docs/benchmarks.md` tells what is measured. */
import { print } from '../measure.js';
import { benchTransactions } from './transactions.js';

const BENCHES: Readonly<Record<string, () => Promise<void>>> = {
  transactions: async () => print('us', await benchTransactions()),
};

const asked = process.argv.slice(2);
for (const [name, bench] of Object.entries(BENCHES))
  if (asked.length === 0 || asked.includes(name)) {
    console.log(`\n${name}`);
    await bench();
  }
