/** Importing the library is light: what a service does not use it does not load. */
import { expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PROJECT } from './support/project.js';

/** The packages that a script loads, by V8's own list of scripts. */
function packagesLoadedBy(script: string): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'loaded-'));
  try {
    execFileSync(process.execPath, ['--input-type=module', '-e', script], {
      cwd: PROJECT,
      env: { ...process.env, NODE_V8_COVERAGE: folder },
    });
    const urls = readdirSync(folder).flatMap((file) =>
      (JSON.parse(readFileSync(join(folder, file), 'utf8')) as { result: { url: string }[] }).result.map(
        ({ url }) => url,
      ),
    );
    const names = urls.map((url) => /node_modules\/((?:@[^/]+\/)?[^/]+)\/(?!.*node_modules)/.exec(url)?.[1]);
    return [...new Set(names.filter((name) => name !== undefined))].sort();
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('importing it loads no package but the one that makes ids', () => {
  const loaded = packagesLoadedBy(
    "const { defineCollection } = await import('quartermaster'); defineCollection({ name: 'a' });",
  );
  expect(loaded.filter((name) => name !== 'uuid')).toEqual([]);
});

test('the memory database loads no driver, and no reader of settings files that there are not', () => {
  const script =
    "import { openStorage } from 'quartermaster'; await (await openStorage({ databases: { main: 'memory:' } })).close();";
  const loaded = packagesLoadedBy(script);
  expect(loaded.filter((name) => name.startsWith('@electric-sql/') || name === 'yaml')).toEqual([]);
});
