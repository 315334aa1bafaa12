/** Writes batches of three records into a SQLite file and prints each that is kept; `[file, first, count]`. */
import { writeSync } from 'node:fs';
import { systemClock as clock } from '../../src/clock.js';
import type { Write } from '../../src/backends/backend.js';
import { openSqlite, parcels } from '../support/sqlite/fixture.js';

const [file, first, count] = process.argv.slice(2) as [string, string, string];
const { backend, close } = await openSqlite(`sqlite:${file}`);
const context = () => ({ now: clock.now(), deadline: clock.monotonic() + 60_000 });
await backend.ensure([parcels], context());
const end = Number(first) + Number(count);
for (let batch = Number(first); batch < end; batch++) {
  const writes = ['a', 'b', 'c'].map((part): Write => ({
    kind: 'insert',
    collection: parcels,
    id: `${batch}-${part}`,
    value: { status: 'made', weight: batch, filling: part.repeat(500) },
  }));
  writes.push({
    kind: 'patch',
    collection: parcels,
    id: 'counter',
    changes: { increment: { weight: 1 } },
    orInsert: { weight: 1 },
  });
  await backend.write({ tenant: 't' }, writes, context());
  writeSync(1, `${batch}\n`);
}
await close();
