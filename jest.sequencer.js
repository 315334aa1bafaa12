/** The order of the test files: those that take long come first, or the last of them would run when all others have ended. */
import TestSequencer from '@jest/test-sequencer';

/** The files that take more than half a minute, the longest first. jest knows only what ran on this machine before. */
const LONGEST = [
  ...['records', 'vectors', 'docs', 'locks-processes', 'pglite-directory', 'chroma', 'mongo-lost-answers'],
  ...['transaction', 'faults/kills', 'migrations', 'pgvector-quantized', 'stores/task-links', 'relay-held-keys'],
];

/** The place of a file among those; the others come after them. */
function placeOf({ path }) {
  const place = LONGEST.findIndex((name) => path.endsWith(`/test/${name}.test.js`));
  return place < 0 ? LONGEST.length : place;
}

export default class LongestFirst extends TestSequencer {
  async sort(tests) {
    return [...(await super.sort(tests))].sort((a, b) => placeOf(a) - placeOf(b));
  }
}
