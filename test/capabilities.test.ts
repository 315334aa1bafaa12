/** The tables of `docs/backends.md`, `operations.md` and `vectors.md` are made from what backends and providers say of themselves. */
import { expect, test } from '@jest/globals';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as prettier from 'prettier';
import type { RecordBackend } from '../src/backends/backend.js';
import { OPERATION_NAMES } from '../src/backends/operations.js';
import { systemClock as clock } from '../src/clock.js';
import { registry } from '../src/registry.js';
import { availableTargets } from '../src/testing/index.js';
import { defaultsOf, openPool } from './support/open-target.js';
import { PROJECT } from './support/project.js';
import { poolDrivers, providerDrivers } from './support/drivers.js';

const PART = /(<!-- capabilities: .* -->\n)([^]*?)(<!-- end of capabilities -->)/;
const OF_BACKENDS = [
  'transactions',
  'savepoints',
  'batch',
  'unique',
  'text',
  'maxRecordBytes',
  'maxBatchItems',
  'maxBatchBytes',
];
const OF_PROVIDERS = [
  ...['metrics', 'exact', 'operators.stringRange', 'operators.notRange', 'metadataDigits', 'deleteCount', 'listOrder'],
  ...['text', 'sparse', 'consistency', 'transactions', 'durable', 'maxDimension', 'maxTopK', 'maxBatch'],
];

interface Column {
  readonly name: string;
  readonly capabilities: object;
}

const pools = await poolDrivers();
const databases = pools.map((driver) => ({ driver, ...availableTargets(driver.tests, process.env) }));
const providers = await providerDrivers();
const services = providers.filter(({ pooled }) => pooled !== true);

/** A page is whole only where every server is there. */
function testPage(
  page: string,
  shown: readonly string[],
  waiting: readonly string[],
  columns: () => Promise<Column[]>,
) {
  const run = waiting.length > 0 ? test.skip : test;
  run(`docs/${page} tells what can be done${waiting.map((name) => `, waits for ${name}`).join('')}`, async () => {
    const path = join(PROJECT, 'docs', page);
    const found = await columns();
    const rows = shown.map(
      (key) => `| \`${key}\` | ${found.map(({ capabilities }) => valueOf(capabilities, key)).join(' | ')} |`,
    );
    const head = `| | ${found.map(({ name }) => name).join(' | ')} |\n|${' --- |'.repeat(found.length + 1)}`;
    const table = `\n${await prettier.format(`${head}\n${rows.join('\n')}`, { parser: 'markdown' })}\n`;
    const text = await readFile(path, 'utf8');
    if (process.env['QUARTERMASTER_WRITE_DOCS'] !== undefined)
      await writeFile(
        path,
        text.replace(PART, (_, from: string, __, to: string) => from + table + to),
      );
    expect(PART.exec(await readFile(path, 'utf8'))?.[2]).toBe(table);
  });
}

function valueOf(capabilities: object, key: string): string {
  const value = key
    .split('.')
    .reduce<unknown>((group, part) => (group as Record<string, unknown> | undefined)?.[part], capabilities);
  return Array.isArray(value) ? value.join(', ') : String(value);
}

const waitingFor = (targets: readonly { waiting: readonly { variable: string }[] }[]): string[] =>
  targets.flatMap(({ waiting }) => waiting.map(({ variable }) => variable));

async function backendColumns(shown: (backend: RecordBackend) => object): Promise<Column[]> {
  const columns: Column[] = [];
  for (const { driver, available } of databases)
    for (const target of available) {
      const { pool, close } = await openPool(driver, target);
      const backend = (await registry.backend(driver.backend)).create(pool, 'records');
      await backend.open({ clock, signal: new AbortController().signal });
      columns.push({ name: target.name, capabilities: shown(backend) });
      await backend.close(clock.monotonic());
      await close();
    }
  return columns;
}

testPage('backends.md', OF_BACKENDS, waitingFor(databases), () => backendColumns(({ capabilities }) => capabilities));

testPage('operations.md', OPERATION_NAMES, waitingFor(databases), () =>
  backendColumns(({ operations }) =>
    Object.fromEntries(OPERATION_NAMES.map((name) => [name, operations?.[name] === undefined ? '' : 'yes'])),
  ),
);

testPage('vectors.md', OF_PROVIDERS, waitingFor(databases), async () => {
  const columns: Column[] = [];
  for (const { driver, available } of databases)
    for (const target of available) {
      if (driver.vectors === undefined) continue;
      const { pool, close } = await openPool(driver, target);
      const provider = (await registry.provider(driver.vectors)).create({}, { clock, name: 'vectors', pool });
      columns.push({ name: `${driver.vectors} on ${target.name}`, capabilities: provider.capabilities });
      await close();
    }
  // What a service can do is known without asking it.
  for (const driver of services)
    for (const { name, setting = 'url' } of driver.tests ?? []) {
      const settings = { ...defaultsOf(driver.settings ?? {}), [setting]: 'http://127.0.0.1:1' };
      columns.push({ name, capabilities: driver.create(settings, { clock, name: 'vectors' }).capabilities });
    }
  return columns;
});
