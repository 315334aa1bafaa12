/** Who may make and delete vector collections, which are every tenant's. */
import { expect, test } from '@jest/globals';
import { openStorage } from '../src/index.js';
import { PGLITE_IN_MEMORY } from './support/pglite-memory.js';

const SPEC = { name: 'docs', dimension: 2 };
const refusal = expect.objectContaining({
  code: 'VALIDATION',
  message: expect.stringContaining("use the manager's vectors()") as unknown,
}) as unknown;

test.each(['memory:', PGLITE_IN_MEMORY])('a tenant does neither, also in a transaction (%s)', async (url) => {
  await using storage = await openStorage({ databases: { main: url } }, { environment: {} });
  await storage.vectors().createCollection(SPEC);
  const tenant = storage.tenant('acme');
  await expect(tenant.vectors().createCollection({ ...SPEC, name: 'other' })).rejects.toEqual(refusal);
  await expect(tenant.vectors().deleteCollection('docs')).rejects.toEqual(refusal);
  await tenant.transaction(async (tx) => {
    await expect(tx.vectors().createCollection(SPEC)).rejects.toEqual(refusal);
    await expect(tx.vectors().deleteCollection('docs')).rejects.toEqual(refusal);
    await tx.vectors().upsert('docs', [{ id: 'a', vector: [1, 0] }]);
  });
  expect(await tenant.vectors().listCollections()).toEqual(['docs']);
  expect((await tenant.vectors().describeCollection('docs')).dimension).toBe(2);
  expect(await tenant.vectors().count('docs')).toBe(1);
  await storage.transaction(async (tx) => {
    await tx.vectors().createCollection({ ...SPEC, name: 'inside' });
  });
  expect(await storage.vectors().deleteCollection('inside')).toBe(true);
});

test('where a tenant is required, the manager makes collections and has no records of its own', async () => {
  await using storage = await openStorage({ databases: { main: 'memory:' }, tenancy: 'required' }, { environment: {} });
  const vectors = storage.vectors();
  await vectors.createCollection(SPEC);
  const required = expect.objectContaining({ code: 'VALIDATION', message: expect.stringMatching(/tenant/) as unknown });
  await expect(vectors.upsert('docs', [{ id: 'a', vector: [1, 0] }])).rejects.toEqual(required);
  await expect(vectors.search('docs', { vector: [1, 0] })).rejects.toEqual(required);
  await expect(vectors.delete('docs', { all: true })).rejects.toEqual(required);
  await expect(vectors.count('docs')).rejects.toEqual(required);
  await storage
    .tenant('acme')
    .vectors()
    .upsert('docs', [{ id: 'a', vector: [1, 0] }]);
  expect(await storage.tenant('acme').vectors().count('docs')).toBe(1);
  expect(await vectors.deleteCollection('docs')).toBe(true);
});
