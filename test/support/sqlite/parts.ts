/** Storage on a SQLite file with as many records as a copy takes several turns for. */
import { defineCollection, openStorage, type StorageManager } from '../../../src/index.js';
import type { EngineName } from '../../../src/pools/sqlite/engine.js';

export const Parts = defineCollection<{ kind: string; filling: string }>({
  name: 'parts',
  fields: { kind: 'string' },
  indexes: [{ keys: ['kind'] }],
  id: 'given',
});
/** So that a copy takes several turns. */
export const MANY = 2_000;

export const open = (file: string, engine: EngineName | 'auto' = 'auto'): Promise<StorageManager> =>
  openStorage({ databases: { main: { url: `sqlite:${file}`, engine } } }, { environment: {} });

export function fill(storage: StorageManager, count = MANY): Promise<unknown> {
  const items = Array.from({ length: count }, (_, i) => ({
    id: `part${String(i).padStart(5, '0')}`,
    value: { kind: `kind-${i % 10}`, filling: 'x'.repeat(400) },
  }));
  return storage.collection(Parts).load(items);
}

export async function idsOf(storage: StorageManager): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of storage.collection(Parts).each()) ids.push(id);
  return ids;
}
