/** The table of `docs/backends.md` is made from what the backends say of themselves. */
import { expect, test } from '@jest/globals';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as prettier from 'prettier';
import { systemClock as clock } from '../src/clock.js';
import { registry } from '../src/registry.js';
import { availableTargets } from '../src/testing/index.js';
import { openPool } from './support/open-target.js';
import { PROJECT } from './support/project.js';

const PAGE = join(PROJECT, 'docs', 'backends.md');
const PART = /(<!-- capabilities: .* -->\n)([^]*?)(<!-- end of capabilities -->)/;
const SHOWN = ['transactions', 'batch', 'unique', 'text', 'maxRecordBytes', 'maxBatchItems', 'maxBatchBytes'] as const;

const drivers = await Promise.all(registry.names().pools.map((name) => registry.pool(name)));
const targets = drivers.map((driver) => ({ driver, ...availableTargets(driver.tests, process.env) }));
const waiting = targets.flatMap((target) => target.waiting.map(({ variable }) => variable));

// The page is whole only where every server is there.
const run = waiting.length > 0 ? test.skip : test;
run(
  `docs/backends.md tells what the backends can do${waiting.map((name) => `, waits for ${name}`).join('')}`,
  async () => {
    const columns: { name: string; values: string[] }[] = [];
    for (const { driver, available } of targets)
      for (const target of available) {
        const { pool, close } = await openPool(driver, target);
        const backend = (await registry.backend(driver.backend)).create(pool, 'records');
        await backend.open({ clock, signal: new AbortController().signal });
        const { capabilities } = backend;
        columns.push({ name: target.name, values: SHOWN.map((key) => String(capabilities[key])) });
        await backend.close(clock.monotonic());
        await close();
      }
    const rows = SHOWN.map((key, i) => `| \`${key}\` | ${columns.map(({ values }) => values[i]).join(' | ')} |`);
    const head = `| | ${columns.map(({ name }) => name).join(' | ')} |\n|${' --- |'.repeat(columns.length + 1)}`;
    const table = `\n${await prettier.format(`${head}\n${rows.join('\n')}`, { parser: 'markdown' })}\n`;
    const page = await readFile(PAGE, 'utf8');
    if (process.env['QUARTERMASTER_WRITE_DOCS'] !== undefined)
      await writeFile(
        PAGE,
        page.replace(PART, (_, from: string, __, to: string) => from + table + to),
      );
    expect(PART.exec(await readFile(PAGE, 'utf8'))?.[2]).toBe(table);
  },
);
