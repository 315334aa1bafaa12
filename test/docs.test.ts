/**
 * Compiles every TypeScript example of the documentation and runs it in an empty directory.
 * Fences: `ts` is compiled and run; `ts no-run` is compiled when the packages it imports are installed. Lines
 * `<!-- expect: text -->` right before a fence name texts that the run must print.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { packageOf, parsePage, readPages, type Example } from './support/examples.js';
import { PROJECT } from './support/project.js';
import { limited, run } from './support/run.js';
import { whyMissing } from './support/sqlite/engines.js';

const SAFETY_LIMIT = 240_000;
const FOLDER = join(PROJECT, 'build', 'docs');
const PAGES = readPages();
const EXAMPLES = PAGES.flatMap(({ examples }) => examples);

const installed = (name: string): boolean =>
  name.startsWith('node:') || name === 'quartermaster' || existsSync(join(PROJECT, 'node_modules', name));
const compiled = EXAMPLES.filter(({ imports }) => imports.every((specifier) => installed(packageOf(specifier))));

const scriptOf = (example: Example): string => join(FOLDER, 'js', `${example.file}.js`);

let faults: string[];
let scratch: string;
const runs = new Map<Example, Promise<Awaited<ReturnType<typeof run>>>>();

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'quartermaster-docs-'));
  await rm(FOLDER, { recursive: true, force: true });
  await mkdir(FOLDER, { recursive: true });
  for (const { file, code } of compiled) await writeFile(join(FOLDER, `${file}.ts`), code);
  // Below the project, so that `quartermaster` is the project itself, by its own `exports`, as for a host.
  const options = {
    extends: '../../tsconfig.json',
    compilerOptions: {
      moduleDetection: 'force',
      noUnusedLocals: false,
      noUnusedParameters: false,
      incremental: false,
      tsBuildInfoFile: null,
      rootDir: '.',
      outDir: 'js',
    },
    include: [],
    files: compiled.map(({ file }) => `${file}.ts`),
  };
  await writeFile(join(FOLDER, 'tsconfig.json'), JSON.stringify(options));
  const tsc = join(PROJECT, 'node_modules', 'typescript', 'bin', 'tsc');
  const { output } = await run(process.execPath, [tsc, '-p', FOLDER, '--pretty', 'false'], FOLDER, SAFETY_LIMIT);
  faults = output.split('\n').filter((line) => line.includes('error TS'));
  const turn = limited(2);
  for (const example of compiled.filter((candidate) => candidate.run))
    runs.set(
      example,
      turn(() => runOnce(example)),
    );
}, SAFETY_LIMIT);

afterAll(async () => {
  await Promise.allSettled(runs.values());
  await rm(scratch, { recursive: true, force: true });
}, SAFETY_LIMIT);

async function runOnce(example: Example): ReturnType<typeof run> {
  const folder = join(scratch, example.file);
  await mkdir(folder);
  // PGlite is compiled anew in each: what V8 would optimize of it does not come back in so short a run. Threads that
  // collect its garbage would take the cores from the other tests.
  const flags = ['--liftoff-only', '--single-threaded-gc', '--enable-source-maps'];
  return run(process.execPath, [...flags, scriptOf(example)], folder, SAFETY_LIMIT);
}

/** The compiler's faults of one example, with the page's own line numbers. */
function faultsOf({ file, page, line }: Example): string[] {
  return faults
    .map((fault) => /^(.+?)\.ts\((\d+),\d+\): (.*)$/.exec(fault))
    .filter((match) => match?.[1] === file)
    .map((match) => `${page}:${line + Number(match![2])} ${match![3]}`);
}

describe.each(PAGES)('$page', ({ page, examples, links, faults: pageFaults }) => {
  test('has well-formed examples', () => {
    expect(pageFaults).toEqual([]);
  });

  test('links to what exists', () => {
    const dead = links.filter((link) => !existsSync(join(PROJECT, dirname(page), link)));
    expect(dead).toEqual([]);
  });

  for (const example of examples) {
    const name = `the example at line ${example.line}`;
    if (!example.run && !compiled.includes(example)) {
      test.skip(`${name} (needs ${example.imports.filter((i) => !installed(packageOf(i))).join(', ')})`, () => {});
      continue;
    }
    const missing = example.imports.includes('better-sqlite3') ? whyMissing('better-sqlite3') : undefined;
    if (missing !== undefined) {
      test.skip(`${name} (${missing})`, () => {});
      continue;
    }
    test(
      `${name} compiles${example.run ? ' and runs' : ''}`,
      async () => {
        expect(compiled).toContain(example);
        expect(faultsOf(example)).toEqual([]);
        if (!example.run) return;
        const { code, output } = (await runs.get(example))!;
        expect({ code, output }).toEqual({ code: 0, output });
        for (const text of example.expected) expect(output).toContain(text);
      },
      SAFETY_LIMIT * 2,
    );
  }
});

test('no fault of the compiler is outside the examples', () => {
  const known = compiled.map(({ file }) => `${file}.ts(`);
  expect(faults.filter((fault) => !known.some((file) => fault.startsWith(file)))).toEqual([]);
});

describe('a page', () => {
  test('is taken apart into examples with what they must print', () => {
    const text = [
      '<!-- expect: two -->',
      '',
      '```ts',
      "import { a } from '@scope/name/part';",
      '```',
      '',
      '```ts no-run',
      '```',
    ];
    expect(parsePage('docs/x.md', text.join('\n'))).toMatchObject({
      examples: [
        { line: 3, file: 'docs-x-3', run: true, expected: ['two'], imports: ['@scope/name/part'] },
        { line: 7, file: 'docs-x-7', run: false, expected: [] },
      ],
      faults: [],
    });
    expect(packageOf('@scope/name/part')).toBe('@scope/name');
  });

  test.each([
    ['a fence of another name', '```typescript\n```'],
    ['a fence without an end', '```ts\nlet a = 1;'],
    ['an indented fence', '- item\n\n  ```ts\n  ```'],
    ['an expectation of nothing', '<!-- expect: a -->\ntext'],
    ['an expectation of what is not run', '<!-- expect: a -->\n```ts no-run\n```'],
  ])('is at fault with %s', (_case, text) => {
    expect(parsePage('docs/x.md', text).faults).toHaveLength(1);
  });
});
