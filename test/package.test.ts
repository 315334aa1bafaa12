/** Packs the library as it would be published, and uses the package as a host does. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parsePage } from './support/examples.js';
import { PROJECT } from './support/project.js';
import { run } from './support/run.js';

const SAFETY_LIMIT = 240_000;
const MODULES = join(PROJECT, 'node_modules');

interface Manifest {
  readonly version: string;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly exports: Readonly<Record<string, unknown>>;
}
const manifest = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8')) as Manifest;
const ENTRIES = Object.keys(manifest.exports)
  .map((key) => key.replace(/^\./, 'quartermaster'))
  .filter((entry) => !entry.endsWith('.json'));

/** A host's code: compiled in its two usual forms, then run. */
const CONSUMER = `
import { defineCollection, getStorageManager, openStorage, StorageError, type Filter } from 'quartermaster';
import { StorageManager, TOKENS, storageModule, type Registry, type StorageModuleOptions } from 'quartermaster/inversify';
import { Container } from 'inversify';

interface Order { status: string; total: number }
const Orders = defineCollection<Order>({ name: 'orders', fields: { status: 'string', total: 'number' } });
const open: Filter<Order> = { status: 'open', total: { $gte: 10 } };

export const shared: typeof getStorageManager = getStorageManager;

export async function composed(options: StorageModuleOptions): Promise<[StorageManager, Registry]> {
  const container = new Container();
  await container.load(storageModule(options));
  return [await container.getAsync(StorageManager), container.get(TOKENS.registry)];
}

const storage = await openStorage({ databases: { main: { url: 'memory:' } } });
try {
  const orders = storage.collection(Orders);
  const saved = await orders.save({ status: 'open', total: 12 });
  const page = await orders.query(open);
  const total: number | undefined = page.items[0]?.value.total;
  console.log('total', total, page.items[0]?.id === saved.id);
  await orders.get('missing').catch((error: unknown) => {
    if (error instanceof StorageError) console.log('code', error.code);
  });
} finally {
  await storage.close();
}
`;

let host: string;
let unpacked: string;
let packed: string[];

beforeAll(async () => {
  host = await mkdtemp(join(tmpdir(), 'quartermaster-package-'));
  const pack = ['pack', PROJECT, '--ignore-scripts', '--offline', '--pack-destination', host];
  expect(await run('npm', pack, host, SAFETY_LIMIT)).toMatchObject({ code: 0 });
  const tarball = join(host, `quartermaster-${manifest.version}.tgz`);
  await mkdir(join(host, 'node_modules'));
  expect(await run('tar', ['-xzf', tarball, '-C', 'node_modules'], host, SAFETY_LIMIT)).toMatchObject({ code: 0 });
  unpacked = join(host, 'node_modules', 'quartermaster');
  expect(await run('mv', [join(host, 'node_modules', 'package'), unpacked], host, SAFETY_LIMIT)).toMatchObject({
    code: 0,
  });
  for (const name of [...Object.keys(manifest.dependencies), '@types/node']) {
    await mkdir(dirname(join(host, 'node_modules', name)), { recursive: true });
    await symlink(join(MODULES, name), join(host, 'node_modules', name));
  }
  await writeFile(join(host, 'package.json'), JSON.stringify({ name: 'host', type: 'module', private: true }));
  await writeFile(join(host, 'consumer.ts'), CONSUMER);
  packed = readdirSync(unpacked, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(unpacked.length + 1))
    .sort();
}, SAFETY_LIMIT);

afterAll(() => rm(host, { recursive: true, force: true }));

describe('the package', () => {
  test('holds the code and its papers, and nothing else', () => {
    expect(readdirSync(unpacked).sort()).toEqual([
      'CHANGELOG.md',
      'CONTRIBUTING.md',
      'LICENSE',
      'README.md',
      'dist',
      'docs',
      'package.json',
    ]);
  });

  test('has in dist only what the sources of today compile to', () => {
    const built = packed.filter((path) => path.startsWith('dist/'));
    const stray = built.filter((path) => {
      const source = /^dist\/(.+?)(\.d\.ts|\.js)$/.exec(path)?.[1];
      return source === undefined || !existsSync(join(PROJECT, 'src', `${source}.ts`));
    });
    // A file of a source that is gone: remove the folder `dist` and build again.
    expect(stray).toEqual([]);
    expect(built.filter((path) => path.endsWith('.js'))).toHaveLength(
      built.filter((path) => path.endsWith('.d.ts')).length,
    );
  });

  test('has the pages that its README names, and theirs', () => {
    const pages = packed.filter((path) => path.endsWith('.md'));
    expect(pages).toContain('docs/README.md');
    // The pages, and the picture that one of them shows.
    expect(packed.filter((path) => path.startsWith('docs/') && !path.endsWith('.md'))).toEqual(['docs/recall.svg']);
    const missing = pages.flatMap((page) =>
      parsePage(page, readFileSync(join(unpacked, page), 'utf8')).links.filter(
        (link) => !existsSync(join(unpacked, dirname(page), link)),
      ),
    );
    expect(missing).toEqual([]);
  });

  test.each(ENTRIES)('can be imported as %s', async (entry) => {
    const code = `console.log(Object.keys(await import(${JSON.stringify(entry)})).length > 0)`;
    const finished = await run(process.execPath, ['--input-type=module', '-e', code], host, SAFETY_LIMIT);
    expect(finished).toEqual({ code: 0, output: 'true\n' });
  });

  test('works outside of its folder: a bundle, or a copy of its code, has no file beside it', async () => {
    await cp(join(unpacked, 'dist'), join(host, 'copied'), { recursive: true });
    const code = `
      const { openStorage } = await import('./copied/index.js');
      const storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
      console.log(storage.state, storage.settings.lifecycle.openTimeout);
      await storage.close();`;
    const finished = await run(process.execPath, ['--input-type=module', '-e', code], host, SAFETY_LIMIT);
    expect(finished).toEqual({ code: 0, output: 'ready 30000\n' });
  });

  test('gives the manager to a container of the host, by its class', async () => {
    const code = `
      import { Container } from 'inversify';
      import { StorageManager, storageModule } from 'quartermaster/inversify';
      const container = new Container();
      container.load(storageModule({ settings: { databases: { main: 'memory:' } }, environment: {} }));
      const storage = await container.getAsync(StorageManager);
      console.log(storage instanceof StorageManager, storage.state);`;
    const finished = await run(process.execPath, ['--input-type=module', '-e', code], host, SAFETY_LIMIT);
    expect(finished).toEqual({ code: 0, output: 'true idle\n' });
  });

  test('keeps what no entry names to itself', async () => {
    const code = `await import('quartermaster/dist/errors.js').catch((error) => console.log(error.code))`;
    const finished = await run(process.execPath, ['--input-type=module', '-e', code], host, SAFETY_LIMIT);
    expect(finished).toEqual({ code: 0, output: 'ERR_PACKAGE_PATH_NOT_EXPORTED\n' });
  });
});

describe('a host', () => {
  const forms = [
    { module: 'nodenext', moduleResolution: 'nodenext' },
    { module: 'esnext', moduleResolution: 'bundler' },
  ];

  test.each(forms)(
    'compiles strictly against its types with the module kind $module',
    async ({ module, moduleResolution }) => {
      const parameters = [
        join(MODULES, 'typescript', 'bin', 'tsc'),
        ...['--strict', '--exactOptionalPropertyTypes', '--skipLibCheck', 'false', '--ignoreConfig'],
        ...['--target', 'es2022', '--lib', 'es2024,esnext.disposable', '--types', 'node'],
        ...['--module', module, '--moduleResolution', moduleResolution, '--outDir', module, 'consumer.ts'],
      ];
      const finished = await run(process.execPath, parameters, host, SAFETY_LIMIT);
      expect(finished).toEqual({ code: 0, output: '' });
    },
    SAFETY_LIMIT,
  );

  test.each(forms)('runs what was compiled with the module kind $module', async ({ module }) => {
    const finished = await run(process.execPath, [join(host, module, 'consumer.js')], host, SAFETY_LIMIT);
    expect(finished).toEqual({ code: 0, output: 'total 12 true\ncode NOT_FOUND\n' });
  });
});
