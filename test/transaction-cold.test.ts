/** The first transactions of a process, whose tables are not known to be there: what is begun before it is awaited. */
import { expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { storageTargets } from './support/storage-targets.js';

const CHILD = fileURLToPath(new URL('./children/cold-transaction.js', import.meta.url));
const targets = storageTargets('the first transactions of a process').filter(({ transactions }) => transactions);

test.each(targets)('are run again, and no rejection that nobody holds ends the process, on $name', async (target) => {
  const { url, drop } = await target.prepare();
  try {
    // A second process meets the tables that the first has made, and has yet to learn of them.
    for (let run = 0; run < 2; run++) {
      const { stdout } = await promisify(execFile)(process.execPath, ['--no-warnings', CHILD, url]);
      expect(JSON.parse(stdout)).toEqual({
        'one after another': 'committed',
        'with cleaning up': 'committed',
        'all settled': 'committed',
        'the last one first': 'committed',
        forgotten: 'VALIDATION',
      });
    }
  } finally {
    await drop();
  }
});
