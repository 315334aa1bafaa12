/** The collection of the entries, and how those are swept that count in a quota. */
import type { RecordSchema } from '../../backends/backend.js';
import { defineOwnCollection, type CollectionDefinition } from '../../collection/definition.js';
import type { EntryValue } from './entry.js';
import { deleteExpired } from './expired.js';

const DECLARED: CollectionDefinition<EntryValue> = defineOwnCollection<EntryValue>({
  name: 'qm_kv',
  id: 'given',
  fields: {
    namespace: { type: 'string', maxBytes: 1_020 },
    key: { type: 'string', maxBytes: 1_020 },
    integer: 'number',
    sizeBytes: 'number',
    expires: 'date',
    since: 'date',
    mark: 'string',
  },
  indexes: [{ keys: ['namespace', 'key'] }, { keys: ['expires'], scope: 'all' }],
});

const SCHEMA: RecordSchema = {
  ...DECLARED.schema,
  sweep: async (backend, before, limit, context) =>
    (await deleteExpired(DECLARED, backend, 'all', {}, before, limit, context)).deleted,
};

export const ENTRIES: CollectionDefinition<EntryValue> = { ...DECLARED, schema: SCHEMA };
