/**
 * Contends for locks and numbers: `[url, 'count', rounds]` waits for a word, adds to an unguarded count under a lock, takes
 * numbers, and prints them as JSON; `[url, 'hold', ttl]` takes a lock, prints its token, and what becomes of it.
 */
import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { defineCollection, openStorage } from '../../src/index.js';

const [url, task, figure] = process.argv.slice(2) as [string, 'count' | 'hold', string];
const Counts = defineCollection<{ count: number }>({ name: 'lock_counts', id: 'given' });
const storage = await openStorage({ databases: { main: url } }, { environment: {} });
const say = (word: unknown): void => void writeSync(1, `${JSON.stringify(word)}\n`);

if (task === 'count') {
  say('ready');
  await once(process.stdin, 'data');
  const counts = storage.collection(Counts);
  const told = { tokens: [] as number[], fences: [] as number[], numbers: [] as number[] };
  for (let i = 0; i < Number(figure); i++) {
    await storage.locks().withLock('counted', { wait: 100_000 }, async ({ token }) => {
      const { value } = await counts.get('c');
      await counts.save({ count: value.count + 1 }, { id: 'c' });
      told.tokens.push(token);
    });
    told.fences.push(await storage.sequences().fencingToken('printer'));
    told.numbers.push(await storage.sequences().next('n'), ...(await storage.sequences().nextMany('n', 2)));
  }
  say(told);
  await storage.close();
  process.stdin.destroy();
} else {
  const lock = await storage.locks().acquire('held', { ttl: Number(figure) });
  lock.signal.addEventListener('abort', () => {
    const { code } = lock.signal.reason as { code: string };
    void lock.release().then((wasHeld) => say({ code, wasHeld }));
  });
  say(lock.token);
  process.stdin.resume();
}
