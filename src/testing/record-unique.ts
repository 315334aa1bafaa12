/** The differential test of unique constraints. */
import assert from 'node:assert/strict';
import type { RecordBackend, RecordSchema, TenantScope, Write } from '../backends/backend.js';
import { isStorageError } from '../errors.js';
import { plain, plainResults, seedOf, STEPS_PER_HISTORY, type PropertyReport } from './record-properties.js';
import { contextAt, freshTenant, NOW, openOracle } from './record-target.js';
import type { DrawOptions } from './runner.js';

const UNIQUE: RecordSchema = {
  name: 'qm_suite_unique',
  fields: new Map([['code', { type: 'string', maxBytes: 512 }]]),
  indexes: [],
  unique: [{ name: 'byCode', fields: ['code'] }],
  text: [],
};

const KINDS = ['insert', 'put', 'replace', 'patch', 'delete'];

/** Batches whose items take, free and hand over the keys of a unique constraint: accepted and refused as by the oracle. */
export async function compareUnique(backend: RecordBackend, options: DrawOptions): Promise<PropertyReport> {
  const fc = await import('fast-check');
  const oracle = await openOracle();
  const atomic = backend.capabilities.batch === 'atomic';
  let cases = 0;
  let nonEmpty = 0;
  const write = fc.record({
    kind: fc.constantFrom(...(options.keepsUniqueKeys === true ? ['insert', 'delete'] : KINDS)),
    id: fc.constantFrom('a', 'b', 'c', 'd'),
    code: fc.constantFrom('x', 'y', 'z', null),
    // An insert over an expired record changes its key.
    expires: options.keepsUniqueKeys === true ? fc.constant(false) : fc.boolean(),
  });
  // At most one item of a kind: within a kind a key that goes from record to record may be refused.
  const batch = fc
    .uniqueArray(write, { minLength: 1, maxLength: atomic ? 4 : 1, selector: ({ id }) => id })
    .map((writes) => writes.filter((w, i) => writes.findIndex(({ kind }) => kind === w.kind) === i));
  await backend.ensure([UNIQUE], contextAt(NOW));
  await fc.assert(
    fc.asyncProperty(fc.array(batch, { minLength: STEPS_PER_HISTORY, maxLength: STEPS_PER_HISTORY }), async (steps) => {
      const scope = { tenant: freshTenant() };
      const keys = ['a', 'b', 'c', 'd'].map((id) => ({ collection: UNIQUE, id }));
      for (const [second, items] of steps.entries()) {
        const now = new Date(NOW.getTime() + second * 1_000);
        const writes = items.map((item) => toUniqueWrite(item, now));
        const expected = await outcome(oracle.backend, scope, writes, now);
        const actual = await outcome(backend, scope, writes, now);
        // A batch that fails by a condition and by the constraint may tell either.
        if (!(expected.refused && actual.broken)) assert.deepEqual(actual, expected, JSON.stringify(writes));
        const state = await oracle.backend.read(scope, keys, contextAt(now));
        assert.deepEqual(plain(await backend.read(scope, keys, contextAt(now))), plain(state), 'the state after');
        cases++;
        if (state.some((row) => row !== undefined)) nonEmpty++;
      }
    }),
    { numRuns: Math.ceil((options.cases ?? 2_000) / STEPS_PER_HISTORY), ...seedOf(options) },
  );
  await oracle.close();
  return { cases, nonEmpty };
}

interface Outcome {
  readonly results: unknown;
  /** A condition failed. */
  readonly refused: boolean;
  /** The constraint was broken. */
  readonly broken: boolean;
}

async function outcome(
  backend: RecordBackend,
  scope: TenantScope,
  writes: readonly Write[],
  now: Date,
): Promise<Outcome> {
  try {
    const results = await backend.write(scope, writes, contextAt(now));
    const refused = results.some(({ status }) => !['written', 'patched', 'deleted'].includes(status));
    return { results: plainResults(results), refused, broken: false };
  } catch (error) {
    if (!isStorageError(error, 'ALREADY_EXISTS')) throw error;
    return { results: error.details, refused: false, broken: true };
  }
}

function toUniqueWrite(
  { kind, id, code, expires }: { kind: string; id: string; code: string | null; expires: boolean },
  now: Date,
): Write {
  const key = { collection: UNIQUE, id };
  const expiresAt = expires ? { expiresAt: new Date(now.getTime() + 1_500) } : {};
  switch (kind) {
    case 'insert':
    case 'put':
    case 'replace':
      return { ...key, kind, value: { code }, ...expiresAt };
    case 'delete':
      return { ...key, kind };
    default:
      return { ...key, kind: 'patch', changes: { set: { code } }, orInsert: { code }, ...expiresAt };
  }
}
