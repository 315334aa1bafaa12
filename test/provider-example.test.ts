/** A third party's provider: the example passes the suite, and registering works with both kinds of decorators. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import '../examples/provider/file.js';
import { systemClock as clock } from '../src/clock.js';
import { openStorage } from '../src/index.js';
import { registry } from '../src/registry.js';
import { describeVectorProvider, type OpenVectors } from '../src/testing/index.js';
import { PROJECT } from './support/project.js';
import { run } from './support/run.js';

const SAFETY_LIMIT = 240_000;
const opening = { clock, signal: new AbortController().signal };
let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'quartermaster-provider-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

async function open(): Promise<OpenVectors> {
  const driver = await registry.provider('FILE');
  const provider = driver.create({ directory: join(directory, 'suite') }, { clock, name: 'vectors:file' });
  await provider.open(opening);
  return { provider, close: () => provider.close(0) };
}
describeVectorProvider({ name: 'file (the example)', open }, { describe, test, beforeAll, afterAll }, { cases: 400 });

test('it is found by its name, with its settings, and keeps what was written', async () => {
  const settings = { databases: { main: 'memory:' }, vectors: { file: { directory: join(directory, 'kept') } } };
  for (const expected of [0, 1]) {
    const storage = await openStorage(settings, { environment: {} });
    try {
      const vectors = storage.vectors('File');
      await vectors.createCollection({ name: 'docs', dimension: 2 });
      expect(await vectors.count('docs')).toBe(expected);
      await vectors.upsert('docs', [{ id: 'a', vector: [1, 2], metadata: { x: 1 }, text: 'words' }]);
    } finally {
      await storage.close();
    }
  }
});

const SOURCE = `
import { openStorage, registerVectorProvider, type VectorCapabilities } from 'quartermaster';

const unused = async (): Promise<never> => { throw new Error('not called'); };

@registerVectorProvider('mine')
class Mine {
  readonly name = 'vectors:mine';
  readonly capabilities = { metrics: ['dot'] } as unknown as VectorCapabilities;
  open = async (): Promise<void> => undefined;
  close = async (): Promise<void> => undefined;
  check = async () => ({ status: 'healthy' as const });
  listCollections = async () => ['found'];
  createCollection = unused; describeCollection = unused; deleteCollection = unused; upsert = unused;
  fetch = unused; list = unused; count = unused; delete = unused; search = unused;
}

const storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
console.log((await storage.vectors('mine').listCollections()).join(), Mine.name);
await storage.close();
`;

test.each([
  ['standard', false],
  ['experimental', true],
])(
  '%s decorators',
  async (kind, experimentalDecorators) => {
    // Below the project, so that quartermaster is the project itself, by its own exports, as for a host.
    const folder = join(PROJECT, 'build', 'decorators', kind);
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'mine.ts'), SOURCE);
    const compilerOptions = {
      experimentalDecorators,
      incremental: false,
      tsBuildInfoFile: null,
      rootDir: '.',
      outDir: '.',
    };
    const config = { extends: join(PROJECT, 'tsconfig.json'), compilerOptions, include: [], files: ['mine.ts'] };
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(config));
    const tsc = join(PROJECT, 'node_modules', 'typescript', 'bin', 'tsc');
    const compiled = await run(process.execPath, [tsc, '-p', folder, '--pretty', 'false'], folder, SAFETY_LIMIT);
    expect(compiled).toEqual({ code: 0, output: '' });
    const ran = await run(process.execPath, [join(folder, 'mine.js')], folder, SAFETY_LIMIT);
    expect(ran).toEqual({ code: 0, output: 'found Mine\n' });
  },
  2 * SAFETY_LIMIT,
);
