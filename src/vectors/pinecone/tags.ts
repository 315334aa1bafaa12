/**
 * A collection's declaration, kept in the tags of its index: made with the index in one step, and seen at once by
 * everybody, which no record of the index would be.
 */
import { randomUUID } from 'node:crypto';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { UnsupportedError } from '../../errors.js';
import type { VectorSchema } from '../provider.js';

const TAG = 'qm-schema-';
const VALUE_CHARACTERS = 120;
/** Of each index another value: the service gives an index no identity but its name. */
const MADE = 'qm-made';
/** An index has at most 20 tags; the others are the host's. */
const MAX_TAGS = 16;

type Tags = Readonly<Record<string, string>>;

/** @throws `UNSUPPORTED` for a declaration that is too large. */
export function encodeTags(schema: VectorSchema, component: string): Record<string, string> {
  // The characters of base64url are all allowed in a tag.
  const text = deflateRawSync(JSON.stringify(schema)).toString('base64url');
  const parts = text.match(new RegExp(`.{1,${VALUE_CHARACTERS}}`, 'g')) ?? [];
  if (parts.length > MAX_TAGS)
    throw new UnsupportedError(
      `fields: the declaration has ${text.length} characters in the tags of the index, which hold ${MAX_TAGS * VALUE_CHARACTERS}: declare fewer fields`,
      { component, details: { key: 'fields', characters: text.length } },
    );
  return { ...Object.fromEntries(parts.map((part, i) => [`${TAG}${i}`, part])), [MADE]: randomUUID() };
}

/** Which of the indexes that had a name it is. */
export function incarnationOf(tags: Tags | undefined): string {
  return tags?.[MADE] ?? '';
}

/** `undefined` for an index that is none of ours. */
export function decodeTags(tags: Tags | undefined, name: string): VectorSchema | undefined {
  const parts: string[] = [];
  for (let i = 0; tags?.[`${TAG}${i}`] !== undefined; i++) parts.push(tags[`${TAG}${i}`]!);
  if (parts.length === 0) return undefined;
  try {
    const schema = JSON.parse(inflateRawSync(Buffer.from(parts.join(''), 'base64url')).toString()) as VectorSchema;
    // Tags are copied with an index, its name is not.
    return { ...schema, name };
  } catch {
    return undefined;
  }
}
