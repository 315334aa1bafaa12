/** Where the settings of an opening are looked for. */
import { checkKnown, invalid } from './errors.js';

export interface OpenOptions {
  /** A settings file that must be there, beside the conventional `quartermaster.yaml`. */
  readonly file?: string | undefined;
  /** Where settings files are looked for; null: no `quartermaster.yaml` is read. Default: the working directory. */
  readonly directory?: string | null | undefined;
  /** Default: the process's; `{}` for none. */
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined;
}

const KEYS = ['file', 'directory', 'environment'] as const;

/** A misspelt option would open another database. `more` are keys beside these. @throws `VALIDATION` */
export function checkOpenOptions(options: OpenOptions, ...more: string[]): void {
  checkKnown(options, new Set([...KEYS, ...more]));
  const { environment, file, directory } = options;
  if (file !== undefined && typeof file !== 'string') throw invalid('options.file', file, 'the path of a file');
  if (directory !== undefined && directory !== null && typeof directory !== 'string')
    throw invalid('options.directory', directory, 'the path of a directory, or null');
  if (environment !== undefined && (typeof environment !== 'object' || environment === null))
    throw invalid('options.environment', environment, 'an object of variables');
  for (const [name, value] of Object.entries(environment ?? {}))
    if (value !== undefined && typeof value !== 'string')
      throw invalid(`options.environment.${name}`, value, 'a text, as in the environment of a process');
}
