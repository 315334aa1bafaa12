/** Takes the lock when told, prints the outcome and holds it until standard input ends. */
import { writeSync } from 'node:fs';
import { systemClock } from '../../src/clock.js';
import { isStorageError } from '../../src/errors.js';
import { lockDirectory } from '../../src/pools/directory-lock.js';

const [path] = process.argv.slice(2) as [string];
writeSync(1, 'ready\n');
process.stdin.once('data', () => {
  lockDirectory(path, systemClock, 'child').then(
    (lock) => {
      writeSync(1, 'locked\n');
      process.stdin.once('end', () => void lock.release().then(() => process.exit(0)));
    },
    (error: unknown) => {
      writeSync(1, isStorageError(error, 'UNAVAILABLE') ? 'refused\n' : `failed ${String(error)}\n`);
      process.exit(0);
    },
  );
});
