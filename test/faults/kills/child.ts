/**
 * A process that is killed: `[role, url, receiver, name]`. It says when it is at work, and of each unit that it began what it
 * was told; the role `both` is for databases that one process has for itself.
 */
import { writeSync } from 'node:fs';
import { setTimeout as after } from 'node:timers/promises';
import { isStorageError, openStorage } from '../../../src/index.js';
import { openReceiver } from './receiver.js';
import { relayTo } from './relay.js';
import { unitId, writeUnit } from './unit.js';

const LOOPS = 4;

const [role, url, receiverUrl, name] = process.argv.slice(2) as [string, string, string, string];
const say = (line: string): void => void writeSync(1, `${line}\n`);
const storage = await patiently(() => openStorage({ databases: { main: url } }, { environment: {} }));

/** With a database that is too busy now it tries again: a process ends by being killed. */
async function patiently<R>(work: () => Promise<R>): Promise<R> {
  for (;;)
    try {
      return await work();
    } catch (error) {
      if (!isStorageError(error) || !error.retryable) throw error;
      await after(100);
    }
}

let isReady = false;
async function write(loop: number): Promise<never> {
  const lane = `${name}.${loop}`;
  // One loop of every writer leaves its messages under one key, behind those of all the others.
  const key = loop === 0 ? 'shared' : lane;
  for (let n = 1; ; n++) {
    const id = unitId(lane, n);
    try {
      await writeUnit(storage, key, lane, n);
      say(`acknowledged ${id}`);
      if (!isReady) say('ready');
      isReady = true;
    } catch (error) {
      say(`refused ${id} ${isStorageError(error) ? error.code : String(error)}`);
      await after(10);
    }
  }
}

if (role !== 'writer') {
  const receiver = await openReceiver(receiverUrl);
  // Once it is answered the tables are there.
  await patiently(() => storage.outbox.backlog());
  relayTo(storage, receiver);
}
if (role === 'relay') say('ready');
else await Promise.all(Array.from({ length: LOOPS }, (_, loop) => write(loop)));
