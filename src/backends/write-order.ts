/** The order in which the items of a batch take effect, where they meet at a unique constraint. */
import { compareText } from '../filter/evaluate.js';
import type { Write } from './backend.js';

/** So that a batch may free a key and take it again. */
export const WRITE_ORDER: readonly Write['kind'][] = ['delete', 'replace', 'patch', 'put', 'insert'];

/** The places of a batch's items in the order of their effect; within a kind by id. */
export function inWriteOrder(writes: readonly Write[]): number[] {
  const rank = ({ kind }: Write): number => WRITE_ORDER.indexOf(kind);
  const before = (a: Write, b: Write): number => rank(a) - rank(b) || compareText(a.id, b.id);
  return writes.map((_, place) => place).sort((i, j) => before(writes[i]!, writes[j]!));
}
