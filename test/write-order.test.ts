/** Two batches that lock the same records lock them in one order, which is the database's: by code point. */
import { expect, test } from '@jest/globals';
import type { RecordSchema, Write } from '../src/backends/backend.js';
import { batchStatement } from '../src/backends/sql/postgres/batch-statement.js';
import { postgres } from '../src/backends/sql/postgres/dialect.js';
import { inWriteOrder } from '../src/backends/write-order.js';

const collection: RecordSchema = { name: 'c', fields: new Map(), indexes: [], unique: [], text: [] };
// By UTF-16 units the last would come before the second.
const IDS = ['a', '\uff41', '\u{1f600}'];
const put = (id: string): Write => ({ kind: 'put', collection, id, value: {} });

test('places of a batch', () => {
  const writes = [...IDS].reverse().map(put);
  expect(inWriteOrder(writes)).toEqual([2, 1, 0]);
});

test('the statement of a batch', () => {
  const writes = [...IDS].reverse().map(put);
  const group = {
    collection,
    kind: 'put',
    isTold: true,
    places: new Map(writes.map(({ id }, place) => [id, place])),
  } as const;
  const { parameters } = batchStatement(postgres, 't', writes, [group], [], undefined, new Date(0));
  expect(parameters.values).toContainEqual(IDS);
});
