/** Where the settings of an opening are looked for. */
import { invalid, unknownKey } from './errors.js';

export interface OpenOptions {
  /** A settings file that must be there, beside the conventional `quartermaster.yaml`. */
  readonly file?: string | undefined;
  /** Where `quartermaster.yaml` is looked for. Default: the working directory. */
  readonly directory?: string | undefined;
  /** Default: the process's; `{}` for none. */
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined;
}

const KEYS = ['file', 'directory', 'environment'];

/** A misspelt option would open another database. `more` are keys beside these. @throws `VALIDATION` */
export function checkOpenOptions(options: OpenOptions, ...more: string[]): void {
  const known = [...KEYS, ...more];
  if (!isObject(options)) throw invalid('options', options, 'an object');
  for (const key in options) if (!known.includes(key)) throw unknownKey(`options.${key}`, known);
  const { environment } = options;
  if (environment !== undefined && !isObject(environment))
    throw invalid('options.environment', environment, 'an object of variables');
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null;
}
