/** The example provider, as a host uses it: registered by importing its file, with settings of its own. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import ts from 'typescript';
import { isStorageError, openStorage, registerVectorProvider } from 'quartermaster';
import '../examples/provider/file-provider.js';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'provider-'));
});
afterAll(() => rm(directory, { recursive: true }));

const settings = () => ({
  databases: { main: 'memory:' },
  vectors: { default: 'memory', File: { path: join(directory, 'vectors.json') } },
});

test('works through storage.vectors, in any case of its name, and finds its data again', async () => {
  {
    await using storage = await openStorage(settings());
    const vectors = storage.vectors('FILE');
    await vectors.createCollection({ name: 'docs', dimension: 2 });
    const ids = ['a', '__proto__', 'toString'];
    await vectors.upsert(
      'docs',
      ids.map((id, i) => ({ id, vector: [1, i], metadata: { n: i } })),
    );
    expect((await storage.health()).components['vectors:file']).toMatchObject({ status: 'healthy' });
  }
  await using storage = await openStorage(settings());
  const hits = await storage.vectors('file').search('docs', { vector: [0, 1], filter: { n: { $gte: 1 } } });
  expect(hits.map(({ id }) => id)).toEqual(['toString', '__proto__']);
  expect(await readFile(join(directory, 'vectors.json'), 'utf8')).toContain('toString');
});

test('a service of its own cannot take part in a transaction', async () => {
  await using storage = await openStorage(settings());
  const work = storage.transaction(async (tx) => tx.vectors('file').listCollections());
  await expect(work).rejects.toMatchObject({ code: 'UNSUPPORTED' });
});

test('its settings are checked as all are', async () => {
  const wrong = { databases: { main: 'memory:' }, vectors: { file: { path: 5, pth: 'x' } } };
  const error = await openStorage(wrong).catch((reason: unknown) => reason);
  if (!isStorageError(error, 'CONFIGURATION')) throw new Error('not refused');
  expect((error.details['faults'] as { key: string }[]).map(({ key }) => key)).toEqual([
    'vectors.file.path',
    'vectors.file.pth',
  ]);
});

test.each([
  ['standard', false],
  ['experimental', true],
])('the decorator works as a %s one', async (name, experimentalDecorators) => {
  const source = `@globalThis.registerForTest('${name}-decorated') export class Provider { static mark = 1 }`;
  const { outputText } = ts.transpileModule(source, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, experimentalDecorators },
  });
  const file = join(directory, `${name}.mjs`);
  await writeFile(file, outputText);
  Object.assign(globalThis, { registerForTest: registerVectorProvider });
  const { Provider } = (await import(pathToFileURL(file).href)) as { Provider: { mark: number } };
  expect(Provider.mark).toBe(1);
  expect(() => registerVectorProvider(`${name.toUpperCase()}-Decorated`)(Provider as never)).toThrow(/registered/);
});
