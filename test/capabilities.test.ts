/** The tables of `docs/backends.md` and `docs/operations.md` are made from what the backends say of themselves. */
import { expect, test } from '@jest/globals';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as prettier from 'prettier';
import type { RecordBackend } from '../src/backends/backend.js';
import { OPERATION_NAMES } from '../src/backends/operations.js';
import { systemClock as clock } from '../src/clock.js';
import { registry } from '../src/registry.js';
import { availableTargets } from '../src/testing/index.js';
import { openPool } from './support/open-target.js';
import { PROJECT } from './support/project.js';

const PART = /(<!-- capabilities: .* -->\n)([^]*?)(<!-- end of capabilities -->)/;
const SHOWN = ['transactions', 'batch', 'unique', 'text', 'maxRecordBytes', 'maxBatchItems', 'maxBatchBytes'] as const;

/** The rows of each page's table: a name, and what a backend says of it. */
const PAGES = {
  'backends.md': SHOWN.map((key) => ({ key, of: ({ capabilities }: RecordBackend) => String(capabilities[key]) })),
  'operations.md': OPERATION_NAMES.map((key) => ({
    key,
    of: ({ operations }: RecordBackend) => (operations?.[key] === undefined ? '' : 'yes'),
  })),
};

const drivers = await Promise.all(registry.names().pools.map((name) => registry.pool(name)));
const targets = drivers.map((driver) => ({ driver, ...availableTargets(driver.tests, process.env) }));
const waiting = targets.flatMap((target) => target.waiting.map(({ variable }) => variable));

// The pages are whole only where every server is there.
const run = waiting.length > 0 ? test.skip : test;
run.each(Object.entries(PAGES))(
  `docs/%s tells what the backends can do${waiting.map((name) => `, waits for ${name}`).join('')}`,
  async (name, shown) => {
    const file = join(PROJECT, 'docs', name);
    const columns: { name: string; values: string[] }[] = [];
    for (const { driver, available } of targets)
      for (const target of available) {
        const { pool, close } = await openPool(driver, target);
        const backend = (await registry.backend(driver.backend)).create(pool, 'records');
        await backend.open({ clock, signal: new AbortController().signal });
        columns.push({ name: target.name, values: shown.map(({ of }) => of(backend)) });
        await backend.close(clock.monotonic());
        await close();
      }
    const rows = shown.map(({ key }, i) => `| \`${key}\` | ${columns.map(({ values }) => values[i]).join(' | ')} |`);
    const head = `| | ${columns.map((column) => column.name).join(' | ')} |\n|${' --- |'.repeat(columns.length + 1)}`;
    const table = `\n${await prettier.format(`${head}\n${rows.join('\n')}`, { parser: 'markdown' })}\n`;
    const page = await readFile(file, 'utf8');
    if (process.env['QUARTERMASTER_WRITE_DOCS'] !== undefined)
      await writeFile(
        file,
        page.replace(PART, (_, from: string, __, to: string) => from + table + to),
      );
    expect(PART.exec(await readFile(file, 'utf8'))?.[2]).toBe(table);
  },
);
