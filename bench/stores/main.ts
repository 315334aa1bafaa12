/** The domain stores beside the raw driver and their peers: `npm run bench:stores [-- kv]`. `docs/benchmarks.md` tells what is measured. */
import { print } from '../measure.js';
import { benchConversations } from './conversations.js';
import { benchJobs } from './jobs.js';
import { benchKv } from './kv.js';

const BENCHES: Readonly<Record<string, () => Promise<void>>> = {
  kv: async () => print('us', await benchKv()),
  conversations: () => benchConversations(),
  jobs: () => benchJobs(),
};

const asked = process.argv.slice(2);
for (const [name, bench] of Object.entries(BENCHES))
  if (asked.length === 0 || asked.includes(name)) {
    console.log(`\n${name}`);
    await bench();
  }
