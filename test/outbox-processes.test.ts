/** Relays in several processes: every message is delivered, in the order of its key, and each process has a part of the work. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { openStorage, type StorageManager } from '../src/index.js';
import { giveWay } from './support/run.js';
import { storageTargets } from './support/storage-targets.js';

const CHILD = fileURLToPath(new URL('./children/outbox-dispatcher.js', import.meta.url));
const PROCESSES = 3;
const KEYS = 40;
const EACH = 15;

for (const target of storageTargets('relays of several processes').filter(({ name }) => name === 'postgres'))
  describe(`relays of several processes on ${target.name}`, () => {
    let storage: StorageManager;
    let url: string;
    let drop: () => Promise<void>;
    const children: ChildProcess[] = [];
    beforeAll(async () => {
      ({ url, drop } = await target.prepare());
      storage = await openStorage({ databases: { main: url } }, { environment: {} });
    });
    afterAll(async () => {
      for (const child of children) child.kill('SIGKILL');
      await storage.close();
      await drop();
    });

    /** The lines of each process, as they come. */
    function start(onLine: (child: number, line: string) => void): Promise<unknown> {
      return Promise.all(
        Array.from({ length: PROCESSES }, (_, i) => {
          const child = spawn(process.execPath, [CHILD, url], { stdio: ['pipe', 'pipe', 'inherit'] });
          giveWay(child);
          children.push(child);
          return new Promise<void>((resolve) => {
            createInterface({ input: child.stdout }).on('line', (line) =>
              line === 'ready' ? resolve() : onLine(i, line),
            );
          });
        }),
      );
    }

    const tell = (what: 'go' | 'end'): void => children.forEach((child) => child.stdin!.write(`${what}\n`));

    test('share it, and keep the order of every key', async () => {
      const seen = new Map<string, { readonly n: number; readonly at: bigint }[]>();
      const parts = new Array<number>(PROCESSES).fill(0);
      let left = KEYS * EACH;
      let idle = PROCESSES;
      let end = (): void => undefined;
      const ended = new Promise<void>((resolve) => (end = resolve));
      await start((child, line) => {
        if (line === 'at-work') {
          // However late one is, there is work for it: the others hold no more than they handle at once.
          if (--idle === 0) tell('go');
          return;
        }
        const [, key, n, at] = line.split(' ');
        seen.set(key!, [...(seen.get(key!) ?? []), { n: Number(n), at: BigInt(at!) }]);
        parts[child]!++;
        if (--left === 0) end();
      });
      // All are there before there is anything to do.
      const leave = (key: string, from: number): Promise<void> =>
        storage.transaction(async (tx) => {
          for (let n = from; n < from + 5; n++) await tx.outbox.enqueue({ topic: 'mail', key, payload: n });
        });
      const keys = Array.from({ length: KEYS }, (_, key) => `k${key}`);
      for (let from = 1; from <= EACH; from += 5) await Promise.all(keys.map((key) => leave(key, from)));
      await ended;
      const exits = children.map((child) => once(child, 'exit'));
      tell('end');
      await Promise.all(exits);
      expect(seen.size).toBe(KEYS);
      // Nobody died and no lease ended: nothing came twice.
      for (const told of seen.values()) {
        // By when it was: the lines of one process may be read before earlier ones of another.
        const numbers = told.sort((a, b) => (a.at < b.at ? -1 : 1)).map(({ n }) => n);
        expect(numbers).toEqual(Array.from({ length: EACH }, (_, i) => i + 1));
      }
      expect(parts.filter((part) => part === 0)).toEqual([]);
      expect(await storage.outbox.backlog()).toEqual({ waiting: 0, dead: 0 });
    });
  });
