/** What a filter, a sort or a patch may name: the envelope, declared fields and undeclared paths. */
import { ValidationError } from '../errors.js';

export type FieldType = 'string' | 'number' | 'boolean' | 'date';

export interface FieldReference {
  /** `value`: inside the record's value (or a vector's metadata); `envelope`: a column around it. */
  readonly source: 'value' | 'envelope';
  readonly path: readonly string[];
  /** The declared type; absent for an undeclared path. */
  readonly type?: FieldType;
}

/** A part of the envelope or a declared field. */
export type TypedReference = FieldReference & { readonly type: FieldType };

/** What may be said of one kind of data: a collection's records, or a vector collection's metadata. */
export interface FilterDomain {
  /** Declared fields by their dotted path. */
  readonly declared: ReadonlyMap<string, FieldType>;
  readonly envelope: ReadonlyMap<string, FieldType>;
  /** Records hold null; vector metadata does not, and has neither text operators nor numbers beyond 2^53. */
  readonly values: 'json' | 'metadata';
  /** Splits the text of `$text` into words; absent where no text is declared. */
  readonly tokenize?: (text: string) => string[];
  /** Rewrites operands that name an id, where a collection stores ids in another form than it shows them. */
  readonly encodeId?: (id: string) => string;
}

/** Limits of a filter, the same for records and vectors (`docs/filters.md`). */
export const FILTER_LIMITS = { depth: 32, leaves: 256, operands: 1_000, segments: 16, segmentLength: 128 } as const;

const KNOWN = new WeakMap<FilterDomain, ReadonlyMap<string, TypedReference>>();

/** The envelope and the declared fields: one object each, so that what is made of a field can be kept by its identity. */
export function knownFields(domain: FilterDomain): ReadonlyMap<string, TypedReference> {
  let known = KNOWN.get(domain);
  if (known === undefined) {
    const declared = [...domain.declared].map(
      ([key, type]) => [key, reference('value', key.split('.'), type)] as const,
    );
    const envelope = [...domain.envelope].map(([key, type]) => [key, reference('envelope', [key], type)] as const);
    KNOWN.set(domain, (known = new Map([...declared, ...envelope])));
  }
  return known;
}

function reference(source: 'value' | 'envelope', path: readonly string[], type: FieldType): TypedReference {
  return { source, path, type };
}

/** Resolves a dotted path to the envelope, a declared field or an undeclared path. @throws `INVALID_FILTER` */
export function parseFieldPath(key: string, domain: FilterDomain): FieldReference {
  const known = knownFields(domain).get(key);
  if (known !== undefined) return known;
  const reason = pathFault(key);
  if (reason !== undefined) {
    throw new ValidationError('INVALID_FILTER', `filter: the path ${JSON.stringify(key)} ${reason}`, {
      details: { path: key, reason },
    });
  }
  return { source: 'value', path: key.split('.') };
}

/** Why a dotted path cannot be named in filters, fields and patches; `undefined` when it can. */
export function pathFault(path: string): string | undefined {
  const segments = path.split('.');
  if (segments.length > FILTER_LIMITS.segments) return `has more than ${FILTER_LIMITS.segments} segments`;
  for (const segment of segments) {
    if (segment === '') return 'has an empty segment';
    if (segment.length > FILTER_LIMITS.segmentLength)
      return `has a segment of more than ${FILTER_LIMITS.segmentLength} characters`;
    if (segment.startsWith('$')) return 'has a segment that begins with $';
    if (segment === '__proto__') return 'names __proto__';
    if (/[\u0000-\u001f\u007f-\u009f"\\`]/.test(segment)) return 'has a control character, quote or backslash';
    if (!segment.isWellFormed()) return 'has a lone surrogate';
  }
  return undefined;
}
