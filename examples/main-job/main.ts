/**
 * The main job on the embedded database: keep, find and lose nothing of real data. `npm start -- --query 7 --top 10` asks
 * another question; `npm start -- --serve` keeps the probes up.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { resolve } from 'node:path';
import { defineCollection, isStorageError, openStorage, type StorageManager } from 'quartermaster';
import { readWordnet, type Definition, type Embedded, type Query } from '../wordnet.js';
import { readArguments, type Arguments } from './arguments.js';
import { heading, progressBar, table } from './print.js';
import { FILTERS, searchByMeaning } from './search.js';

const DIRECTORY = './.quartermaster';

const Words = defineCollection<Definition>({
  name: 'words',
  fields: { partOfSpeech: 'string', domain: 'string', links: 'number' },
  indexes: [{ keys: ['domain', 'links'] }],
  text: ['definition'],
  id: 'given',
});

// The embedded database whatever the environment says: this is its demonstration.
const open = (): Promise<StorageManager> =>
  openStorage({ databases: { main: `pglite:${DIRECTORY}` }, vectors: { default: 'pgvector' } }, { environment: {} });

async function load(storage: StorageManager, definitions: readonly Embedded<Definition>[]): Promise<void> {
  const words = storage.collection(Words);
  const vectors = storage.vectors();
  await vectors.createCollection({ name: 'words', dimension: definitions[0]!.vector.length, metric: 'cosine' });
  if ((await vectors.count('words')) === definitions.length && (await words.count()) >= definitions.length) {
    console.log(`The ${definitions.length} definitions are there from an earlier run.`);
    return;
  }
  const bar = progressBar('records', definitions.length);
  const items = definitions.map(({ vector: _vector, ...value }) => ({ id: value.id, value }));
  await words.load(items, { onProgress: ({ written }) => bar(written) });
  const vectorBar = progressBar('vectors', definitions.length);
  const records = definitions.map(({ id, vector, definition, partOfSpeech, domain, links, example }) => ({
    id,
    vector,
    text: definition,
    metadata: { partOfSpeech, domain, links, example },
  }));
  await vectors.upsert('words', records, { onProgress: ({ written }) => vectorBar(written) });
}

async function keepAndChange(storage: StorageManager): Promise<string> {
  const words = storage.collection(Words);
  heading('Keep, change, page');
  const added = await words.save(
    {
      id: 'mine',
      words: ['quartermaster'],
      definition: 'one who keeps the stores',
      partOfSpeech: 'noun',
      domain: 'noun.person',
      links: 1,
      example: false,
      length: 24,
    },
    { id: 'mine' },
  );
  console.log(`saved "mine", version ${added.version}`);
  const changed = await words.patch('mine', { increment: { links: 1 }, push: { words: 'storekeeper' } });
  console.log(
    `patched it: version ${changed.version}, links ${changed.value.links}, words ${changed.value.words.join(', ')}`,
  );
  try {
    await words.replace('mine', added.value, { ifVersion: added.version });
    throw new Error('A stale write went through');
  } catch (error) {
    if (!isStorageError(error, 'CONFLICT')) throw error;
    console.log(`replacing version ${added.version} is refused: ${error.message}`);
  }
  const rows: string[][] = [];
  let after: string | undefined;
  for (let page = 1; page <= 3; page++) {
    const { items, next } = await words.query(
      { domain: 'noun.food' },
      { sort: { links: 'desc' }, limit: 3, ...(after === undefined ? {} : { after }) },
    );
    for (const { id, value } of items) rows.push([String(page), id, String(value.links), value.words.join(', ')]);
    after = next;
    if (after === undefined) break;
  }
  table(['page', 'id', 'links', 'words'], rows);
  console.log(`"$text: fruit tree" finds ${await words.count({ $text: 'fruit tree' })} definitions`);
  return `${changed.id} version ${changed.version}`;
}

async function findAgain(expected: string, definitions: number): Promise<void> {
  heading('Closed, and opened again');
  await using storage = await open();
  const mine = await storage.collection(Words).get('mine');
  const [records, vectors] = [await storage.collection(Words).count(), await storage.vectors().count('words')];
  console.log(`found ${mine.id} version ${mine.version}; ${records} records, ${vectors} vectors`);
  if (`${mine.id} version ${mine.version}` !== expected || records !== definitions + 1 || vectors !== definitions)
    throw new Error('Something was lost');
}

async function showHealth(storage: StorageManager): Promise<void> {
  heading('Health');
  const report = await storage.health();
  const rows = Object.values(report.components).map(({ name, status, latencyMs, critical, message }) => [
    name,
    status,
    critical ? 'critical' : 'optional',
    latencyMs === undefined ? '' : `${latencyMs.toFixed(1)} ms`,
    message ?? '',
  ]);
  table(['component', 'status', '', 'latency', ''], rows);
  console.log(`overall: ${report.overall}`);
}

async function serve(storage: StorageManager, onPort: number): Promise<void> {
  const server = createServer(storage.probes()).listen(onPort);
  await new Promise((listening) => server.once('listening', listening));
  const { port } = server.address() as AddressInfo;
  console.log(`\nProbes: http://127.0.0.1:${port}/livez /readyz /startupz /health (Ctrl-C ends it)`);
  await new Promise<void>((stopped) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopped());
  });
  server.close();
  server.closeAllConnections();
}

function argumentsOrEnd(queries: number): Arguments {
  try {
    return readArguments(process.argv.slice(2), queries);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    console.error(error.message);
    process.exit(2);
  }
}

const { definitions, queries } = await readWordnet();
const { query: wanted, top, port, serve: serving } = argumentsOrEnd(queries.length);
const asked: readonly Embedded<Query>[] =
  wanted === undefined ? queries.slice(0, 2) : queries.slice(wanted, wanted + 1);
console.log(`Data in ${resolve(DIRECTORY)}`);
let kept: string;
{
  await using storage = await open();
  await load(storage, definitions);
  for (const query of asked) await searchByMeaning(storage, definitions, query, FILTERS, top);
  kept = await keepAndChange(storage);
  await showHealth(storage);
}
await findAgain(kept, definitions.length);
if (serving) {
  await using storage = await open();
  await serve(storage, port);
}
console.log('\nNothing is left running.');
