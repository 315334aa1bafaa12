/**
 * What is registered, looked at when it is: a part that is missing would be met when a manager opens, or later, as a
 * TypeError that names nobody.
 */
import { missingMember, type Method } from './component.js';
import { checkKnown, invalid, UnsupportedError } from './errors.js';
import { isList, isPlainObject } from './filter/json.js';
import type { ProviderClass, ProviderOptions, VectorProvider } from './vectors/provider.js';

type Parts = Readonly<Record<string, unknown>>;

const SCHEME = /^[a-z][a-z0-9+.-]*$/;
const PROVIDER_OPTIONS: ReadonlySet<string> = new Set([
  'settings',
  'pooled',
  'tests',
] satisfies (keyof ProviderOptions)[]);
/** Those that it must have. */
const PROVIDER_METHODS = Object.keys({
  open: true,
  check: true,
  close: true,
  createCollection: true,
  describeCollection: true,
  listCollections: true,
  deleteCollection: true,
  upsert: true,
  fetch: true,
  list: true,
  count: true,
  delete: true,
  search: true,
} satisfies Record<Method<VectorProvider>, true>) as Method<VectorProvider>[];

/** @throws `VALIDATION` */
export function checkPoolDriver(driver: unknown): void {
  const { schemes, backend, vectors, settings } = checkParts('pool', driver, ['checkUrl', 'key', 'create']);
  if (!isList(schemes) || schemes.length === 0) throw invalid('pool.schemes', schemes, 'a list of URL schemes');
  for (const [i, scheme] of schemes.entries())
    if (typeof scheme !== 'string' || !SCHEME.test(scheme))
      throw invalid(`pool.schemes[${i}]`, scheme, 'a URL scheme in lower case, without its colon');
  if (typeof backend !== 'string') throw invalid('pool.backend', backend, 'the name of a record backend');
  if (vectors !== undefined && typeof vectors !== 'string')
    throw invalid('pool.vectors', vectors, 'the name of a vector provider');
  if (settings !== undefined) checkSettings('pool.settings', settings);
}

/** @throws `VALIDATION` */
export function checkBackendDriver(driver: unknown): void {
  checkParts('backend', driver, ['create']);
}

/** @throws `VALIDATION` */
export function checkProviderClass(target: ProviderClass, options: ProviderOptions): void {
  checkKnown(options, PROVIDER_OPTIONS);
  const { settings, pooled } = options;
  if (settings !== undefined) checkSettings('options.settings', settings);
  if (pooled !== undefined && typeof pooled !== 'boolean') throw invalid('options.pooled', pooled, 'true or false');
  if (typeof target !== 'function') throw invalid('vector provider', target, 'a class');
}

/** Looked at when it is made: a method may be a field of the instance. @throws `UNSUPPORTED` */
export function checkProvider(provider: VectorProvider, name: string, component: string): void {
  const missing = missingMember(provider, { methods: PROVIDER_METHODS, parts: ['capabilities'] });
  if (missing !== undefined) throw new UnsupportedError(`The vector provider ${name} has ${missing}`, { component });
}

function checkParts(kind: string, driver: unknown, methods: readonly string[]): Parts {
  if (typeof driver !== 'object' || driver === null) throw invalid(kind, driver, 'an object');
  const parts = driver as Parts;
  for (const method of methods)
    if (typeof parts[method] !== 'function') throw invalid(`${kind}.${method}`, parts[method], 'a function');
  return parts;
}

/** @param ancestors the settings that it is a part of, the outermost first */
function checkSettings(at: string, fragment: unknown, ancestors: readonly unknown[] = []): void {
  if (!isPlainObject(fragment)) throw invalid(at, fragment, 'an object of settings');
  if (ancestors.includes(fragment)) throw invalid(at, fragment, 'settings that are not within themselves');
  if (typeof fragment['doc'] === 'string') return;
  const within = [...ancestors, fragment];
  for (const [key, entry] of Object.entries(fragment)) checkSettings(`${at}.${key}`, entry, within);
}
