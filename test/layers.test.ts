import { describe, expect, test } from '@jest/globals';
import {
  brokenLayers,
  brokenPackages,
  importCycles,
  readImports,
  readsEnvironment,
  type ClientRule,
  type PackageRule,
  type Room,
} from './support/layers.js';
import { readTypeScript } from './support/project.js';

const BASE = ['component', 'clock', 'filter'];
const CONTRACTS = ['pool contract', 'backend contract', 'vector contract'];

/** Who may import whom. The first room that fits a file has it; a file that fits none must be given a place here. */
const ROOMS: readonly Room[] = [
  { name: 'errors', files: ['errors', 'type-name'], may: [] },
  { name: 'clock', files: ['clock', 'abort'], may: [] },
  { name: 'listeners', files: ['listeners'], may: [] },
  { name: 'open options', files: ['open-options'], may: [] },
  { name: 'filter', files: ['filter'], may: [] },
  { name: 'component', files: ['component', 'handle'], may: ['clock'] },
  { name: 'operation', files: ['operation'], may: ['component'] },
  { name: 'loading', files: ['loading'], may: ['component', 'clock'] },
  { name: 'lifecycle', files: ['lifecycle'], may: ['component', 'clock'] },
  { name: 'health', files: ['health'], may: ['component', 'clock'] },
  { name: 'probes', files: ['probes'], may: ['component', 'clock'], types: ['health'] },
  { name: 'pool contract', files: ['pools/pool', 'pools/turn-queue', 'pools/deadlock'], may: BASE },
  { name: 'backend contract', files: ['backends/backend', 'backends/operations'], may: [...BASE, 'pool contract'] },
  { name: 'vector contract', files: ['vectors/provider'], may: [...BASE, 'pool contract'] },
  { name: 'bounded provider', files: ['vectors/bounded-provider'], may: [...BASE, 'vector contract'] },
  {
    name: 'record values',
    files: ['declaration', 'declared-fields', 'limits', 'patch', 'plan', 'sequence-id', 'value', 'write-order'].map(
      (file) => `backends/${file}`,
    ),
    may: [...BASE, 'backend contract'],
  },
  { name: 'vector codec', files: ['vectors/codec'], may: [...BASE, 'vector contract'] },
  {
    name: 'definition',
    files: ['collection/definition', 'collection/index-declaration'],
    may: [...BASE, 'backend contract', 'record values'],
  },
  {
    name: 'collection',
    files: ['collection'],
    may: [...BASE, 'operation', 'loading', 'backend contract', 'record values', 'definition'],
  },
  {
    name: 'vector store',
    files: ['vectors/vector-store'],
    may: [...BASE, 'operation', 'loading', 'vector contract', 'vector codec'],
  },
  {
    name: 'memory',
    files: ['pools/memory', 'backends/memory', 'vectors/memory'],
    may: [...BASE, ...CONTRACTS, 'pool parts', 'record values', 'vector codec'],
    types: ['memory'],
    apart: true,
  },
  {
    name: 'pool parts',
    files: [
      'slot',
      'local-session',
      'local-pool',
      'loop-turn',
      'savepoint',
      'sqlstate',
      'command-tag',
      'backup-file',
      'statement-settings',
      'timestamptz',
      'directory-lock',
      'process-identity',
      'clock-offset',
    ].map((file) => `pools/${file}`),
    may: [...BASE, 'pool contract'],
  },
  { name: 'pool', files: ['pools/*'], may: [...BASE, 'pool contract', 'pool parts'], apart: true },
  {
    name: 'backend',
    files: ['backends/*'],
    may: [...BASE, 'pool contract', 'backend contract', 'record values'],
    types: ['pool'],
    apart: true,
  },
  { name: 'remote calls', files: ['vectors/remote'], may: BASE },
  {
    name: 'vector provider',
    files: ['vectors/*'],
    may: [...BASE, 'pool contract', 'vector contract', 'vector codec', 'remote calls'],
    types: ['pool'],
    apart: true,
  },
  {
    name: 'unit of work',
    files: ['unit-of-work', 'migrations'],
    may: [...BASE, ...CONTRACTS, 'record values', 'definition', 'collection', 'vector store'],
  },
  { name: 'stores by name', files: ['adapters/settings'], may: ['component'] },
  {
    name: 'adapters',
    files: ['adapters'],
    may: [
      ...BASE,
      'listeners',
      'loading',
      ...CONTRACTS,
      ...[
        'record values',
        'definition',
        'collection',
        'vector store',
        'vector codec',
        'unit of work',
        'stores by name',
      ],
    ],
  },
  {
    name: 'delivery',
    files: ['delivery'],
    may: [
      ...BASE,
      ...CONTRACTS,
      ...['record values', 'definition', 'collection', 'vector store', 'vector codec', 'unit of work', 'adapters'],
      'stores by name',
    ],
  },
  {
    name: 'registry',
    files: ['registry', 'registration'],
    may: ['component', 'filter', ...CONTRACTS, 'bounded provider'],
    lazily: ['memory', 'pool', 'backend', 'vector provider'],
  },
  {
    name: 'settings',
    files: ['settings'],
    may: ['component', 'filter', 'record values', 'registry', 'stores by name'],
    types: [...CONTRACTS, 'open options'],
  },
  {
    name: 'manager',
    files: [
      ...[
        'admission',
        'closing',
        'manager',
        'opening',
        'placement',
        'prepare',
        'notices',
        'dispatcher',
        'composition',
        'construct',
        'storage',
        'subscriptions',
        'database',
      ],
      ...['recurring', 'sweeper', 'retention-runs', 'outbox-health'],
    ],
    may: [
      ...BASE,
      ...CONTRACTS,
      ...['definition', 'collection', 'vector store', 'adapters', 'stores by name', 'unit of work', 'delivery'],
      ...['settings', 'health', 'probes', 'lifecycle', 'listeners', 'record values', 'operation'],
    ],
    types: ['registry'],
  },
  { name: 'container', files: ['container'], may: 'everything' },
  {
    name: 'index',
    files: ['index'],
    may: [...BASE, ...CONTRACTS, 'open options', 'registry', 'definition', 'manager'],
    types: [
      'adapters',
      'operation',
      'collection',
      'vector store',
      'unit of work',
      'delivery',
      'settings',
      'health',
      'probes',
      'lifecycle',
    ],
    lazily: ['container', 'settings'],
  },
  {
    name: 'testing',
    files: ['testing'],
    may: [
      ...BASE,
      ...CONTRACTS,
      ...['record values', 'definition', 'collection', 'vector codec', 'vector store', 'memory'],
    ],
  },
];

const PACKAGES: readonly PackageRule[] = [
  { packages: ['node:', 'uuid'], manners: ['static', 'type', 'lazy'] },
  { packages: ['inversify', 'reflect-metadata'], rooms: ['container'], manners: ['static', 'type', 'lazy'] },
  { packages: ['croner'], rooms: ['adapters'], manners: ['lazy', 'type'] },
  { packages: ['yaml'], rooms: ['settings'], manners: ['lazy', 'type'] },
  { packages: ['fast-check'], rooms: ['testing'], manners: ['lazy', 'type'] },
  { packages: ['@standard-schema/spec'], rooms: ['definition', 'collection', 'index'], manners: ['type'] },
];
/** One owner per connection: a client library is loaded when its pool (or a provider that is its own service) opens. */
const CLIENTS: ClientRule = { rooms: ['pool', 'vector provider'], manners: ['lazy', 'type'] };

const MAX_LINES = 300;
const SOURCES = readTypeScript('src');

describe('the source files', () => {
  test('import only what the table of rooms allows', () => {
    expect(SOURCES.size).toBeGreaterThan(0);
    expect(brokenLayers(SOURCES, ROOMS)).toEqual([]);
  });

  test('import packages only in the rooms that own them', () => {
    expect(brokenPackages(SOURCES, ROOMS, PACKAGES, CLIENTS)).toEqual([]);
  });

  test('have no circle of imports', () => {
    expect(importCycles(SOURCES)).toEqual([]);
  });

  test('read the environment in the settings alone', () => {
    const readers = [...SOURCES].flatMap(([path, text]) =>
      readsEnvironment(path, text).map((line) => `src/${path}:${line} reads process.env: only the settings may`),
    );
    expect(readers.filter((reader) => !/^src\/settings[./]/.test(reader))).toEqual([]);
  });

  test.each(['src', 'examples'])('of %s have at most 300 lines', (folder) => {
    const long = [...readTypeScript(folder)]
      .map(([path, text]) => ({ path, lines: text.trimEnd().split('\n').length }))
      .filter(({ lines }) => lines > MAX_LINES);
    expect(long.map(({ path, lines }) => `${folder}/${path} has ${lines} lines; at most ${MAX_LINES}`)).toEqual([]);
  });
});

describe('the rules', () => {
  const layers = (path: string, text: string): string[] => brokenLayers(new Map([[path, text]]), ROOMS);
  const packages = (...files: [string, string][]): string[] => brokenPackages(new Map(files), ROOMS, PACKAGES, CLIENTS);

  test('see every form of import', () => {
    const text = `
      import a from './a.js';
      import type { B } from './b.js';
      import { type C } from './c.js';
      import './d.js';
      export { E } from './e.js';
      export type * from './f.js';
      export * from './g.js';
      const h = await import('./h.js');
      type I = import('./i.js').I;
      const j = await import(name);
      import k = require('./k.js');`;
    expect(readImports('x.ts', text).map(({ specifier, manner }) => `${specifier} ${manner}`)).toEqual([
      './a.js static',
      './b.js type',
      // Under verbatimModuleSyntax the module is still loaded.
      './c.js static',
      './d.js static',
      './e.js static',
      './f.js type',
      './g.js static',
      './h.js lazy',
      './i.js type',
      '? lazy',
      './k.js static',
    ]);
  });

  test('name the file, the import and the rule', () => {
    expect(layers('clock.ts', "import type { Component } from './component.js';")).toEqual([
      'src/clock.ts imports ./component.js (type, component): clock may import errors',
    ]);
  });

  test.each([
    ['an implementation and the registry', 'vectors/chroma.ts', "import '../registry.js'"],
    ['an implementation and another one', 'pools/a.ts', "import type { B } from './b.js'"],
    ['an implementation and a pool, not for its types alone', 'backends/sql/read.ts', "import '../../pools/pglite.js'"],
    ['the manager and an implementation', 'manager.ts', "const a = await import('./pools/pglite.js')"],
    ['the registry and an implementation, at once', 'registry.ts', "import { sql } from './backends/sql/index.js'"],
    ['the index and the container, at once', 'index.ts', "export { container } from './container.js'"],
    ['a module named by an expression', 'settings.ts', 'await import(name)'],
    ['a file without a room', 'helpers.ts', ''],
  ])('refuse %s', (_case, path, text) => {
    expect(layers(path, text)).toHaveLength(1);
  });

  test.each([
    ['the types of a pool', 'backends/sql/read.ts', "import type { PgPool } from '../../pools/postgres.js'"],
    ['a file of its own folder', 'backends/sql/read.ts', "import { table } from './table.js'"],
    ['an implementation, when it is needed', 'registry.ts', "const a = import('./pools/pglite.js')"],
    ['everything, in the container', 'container.ts', "import { pglite } from './pools/pglite.js'"],
  ])('allow %s', (_case, path, text) => {
    expect(layers(path, text)).toEqual([]);
  });

  test('keep packages in their rooms', () => {
    expect(packages(['manager.ts', "import { Container } from 'inversify'"])).toEqual([
      'src/manager.ts imports inversify: only container may',
    ]);
    expect(packages(['settings/load.ts', "import { parse } from 'yaml'"])).toEqual([
      'src/settings/load.ts imports yaml (static): only lazy or type',
    ]);
    expect(packages(['backends/sql/read.ts', "const pg = await import('pg')"])).toHaveLength(1);
    expect(
      packages(
        ['pools/one.ts', "const { PGlite } = await import('@electric-sql/pglite')"],
        ['vectors/two.ts', "const { vector } = await import('@electric-sql/pglite-pgvector')"],
      ),
    ).toEqual([
      'src/vectors/two.ts imports @electric-sql/pglite-pgvector: one file or folder owns a client library, here src/pools/one',
    ]);
    expect(packages(['filter/a.ts', "import { v7 } from 'uuid'; import { join } from 'node:path'"])).toEqual([]);
  });

  test('find circles, also of types and of lazy imports', () => {
    const files = new Map([
      ['a.ts', "import type { B } from './b.js'"],
      ['b.ts', "const c = import('./c.js')"],
      ['c.ts', "import './a.js'"],
    ]);
    expect(importCycles(files)).toEqual(['src/a.ts -> src/b.ts -> src/c.ts -> src/a.ts']);
  });

  test.each([
    'process.env.HOME',
    "process['env']",
    'globalThis.process.env',
    'const { env } = process',
    "import { env } from 'node:process'",
  ])('see the environment read by %s', (text) => {
    expect(readsEnvironment('x.ts', text)).toEqual([1]);
  });
});
