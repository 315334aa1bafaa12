/** Records that name tasks: of any number, read in pages. */
import type { CollectionDefinition } from '../../collection/definition.js';
import type { StoredRecord } from '../../collection/record-codec.js';
import type { Filter } from '../../filter/syntax.js';
import type { Unit } from '../unit.js';

const AT_ONCE = 500;
const PAGE = 1_000;

export interface LinkedOptions {
  readonly where?: Readonly<Record<string, unknown>>;
  /** Reads no further once it has more than so many. */
  readonly most?: number;
}

/** @param field which field of theirs names one of `ids` */
export async function recordsOf<T>(
  unit: Unit,
  definition: CollectionDefinition<T>,
  field: string,
  ids: readonly string[],
  { where = {}, most = Infinity }: LinkedOptions = {},
): Promise<StoredRecord<T>[]> {
  const found: StoredRecord<T>[] = [];
  for (let i = 0; i < ids.length; i += AT_ONCE)
    for (let after: StoredRecord<T> | undefined; ;) {
      const filter = { ...where, [field]: { $in: ids.slice(i, i + AT_ONCE) } } as Filter<T>;
      const limit = Math.min(PAGE, most + 1 - found.length);
      const page = await unit.query(definition, filter, { limit, after });
      found.push(...page);
      if (found.length > most) return found;
      if (page.length < limit) break;
      after = page.at(-1);
    }
  return found;
}
