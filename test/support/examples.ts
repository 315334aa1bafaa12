/** Takes the pages of the documentation apart: their TypeScript examples and their relative links. */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { readImports } from './layers.js';
import { PROJECT } from './project.js';

export interface Example {
  /** The page's path from the project. */
  readonly page: string;
  /** The line of the fence, from 1. */
  readonly line: number;
  /** A name for its file, unique over all pages. */
  readonly file: string;
  readonly code: string;
  /** The packages it imports, in any form. */
  readonly imports: readonly string[];
  readonly run: boolean;
  /** What its output must hold. */
  readonly expected: readonly string[];
}

export interface Page {
  readonly page: string;
  readonly examples: readonly Example[];
  /** Relative links, without their anchors. */
  readonly links: readonly string[];
  /** Fences and expectations that nobody would have checked. */
  readonly faults: readonly string[];
}

const FENCE = /^(`{3,}|~{3,})(.*)$/;
const EXPECT = /^<!-- expect: (.+) -->$/;

/** README.md and every page of `docs/`. */
export function readPages(): Page[] {
  const docs = readdirSync(join(PROJECT, 'docs')).filter((name) => name.endsWith('.md'));
  return ['README.md', ...docs.sort().map((name) => `docs/${name}`)].map((page) =>
    parsePage(page, readFileSync(join(PROJECT, page), 'utf8')),
  );
}

export function parsePage(page: string, text: string): Page {
  const examples: Example[] = [];
  const faults: string[] = [];
  const prose: string[] = [];
  const lines = text.split('\n');
  let expected: string[] = [];
  for (let i = 0; i < lines.length; i++) {
    const expectation = EXPECT.exec(lines[i]!)?.[1];
    if (expectation !== undefined) {
      expected.push(expectation);
      continue;
    }
    const fence = FENCE.exec(lines[i]!);
    if (fence !== null) {
      const line = i + 1;
      const end = lines.indexOf(fence[1]!, line);
      if (end < 0) faults.push(`${page}:${line} has a fence without an end`);
      const info = fence[2]!.trim();
      if (info === 'ts' || info === 'ts no-run')
        examples.push(exampleOf(page, line, lines.slice(line, end), info === 'ts', expected));
      else if (/^(ts|typescript|js|javascript)\b/.test(info))
        faults.push(`${page}:${line} has a fence of kind "${info}": use ts or ts no-run`);
      if (expected.length > 0 && info !== 'ts') faults.push(`${page}:${line} has expectations but is not run`);
      expected = [];
      if (end < 0) break;
      i = end;
      continue;
    }
    if (expected.length > 0 && lines[i] === '') continue;
    if (expected.length > 0) faults.push(`${page}:${i + 1} parts an expectation from its fence`);
    if (/^\s+(`{3,}|~{3,})\s*(ts|typescript)\b/.test(lines[i]!))
      faults.push(`${page}:${i + 1} has an indented fence, which is not run`);
    expected = [];
    prose.push(lines[i]!);
  }
  return { page, examples, links: linksOf(prose.join('\n')), faults };
}

function exampleOf(page: string, line: number, lines: string[], run: boolean, expected: string[]): Example {
  const code = `${lines.join('\n')}\n`;
  const imports = readImports('example.ts', code).map(({ specifier }) => specifier);
  const file = `${page.startsWith('docs/') ? 'docs-' : ''}${basename(page, '.md')}-${line}`;
  return { page, line, file, code, imports: [...new Set(imports)], run, expected };
}

function linksOf(prose: string): string[] {
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
    .map((match) => match[1]!.replace(/#.*$/, ''))
    .filter((link) => link !== '' && !/^[a-z]+:/i.test(link));
}

/** The package a specifier names: `@scope/name` of `@scope/name/part`. */
export function packageOf(specifier: string): string {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
}
