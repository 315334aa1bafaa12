/** Where the project is, seen from the compiled tests in `build/test`. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';

export const PROJECT = join(import.meta.dirname, '..', '..', '..');

/** The text of every `.ts` file under a folder of the project, by its path from that folder, with forward slashes. */
export function readTypeScript(folder: string): Map<string, string> {
  const root = join(PROJECT, folder);
  return new Map(
    readdirSync(root, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
      .map((entry) => join(entry.parentPath, entry.name))
      .sort()
      .map((path) => [relative(root, path).split(sep).join('/'), readFileSync(path, 'utf8')]),
  );
}
