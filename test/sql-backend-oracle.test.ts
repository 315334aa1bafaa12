/** The sql backend asked the same as the definitions of filters, sorts, patches and writes. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { RecordBackend, Stored, Write, WriteResult } from '../src/backends/backend.js';
import { applyPatch, patchTree } from '../src/backends/patch.js';
import { cursorRanges, type SortKey } from '../src/filter/cursor.js';
import { compareScalars, evaluate, recordField, recordSubject } from '../src/filter/evaluate.js';
import type { Scalar } from '../src/filter/syntax.js';
import { random } from './support/random.js';
import { DATES, Draw, drawChanges } from './support/sql/draw.js';
import { A, at, contextAt, ctx, filterOf, openBackend, things, type Opened } from './support/sql/fixture.js';

let opened: Opened;
let backend: RecordBackend;

beforeAll(async () => {
  opened = await openBackend();
  ({ backend } = opened);
});

afterAll(() => opened.close());

function compare(sort: readonly SortKey[], a: Stored, b: Stored): number {
  for (const key of sort) {
    const order = compareScalars(recordField(a, key) as Scalar, recordField(b, key) as Scalar);
    if (order !== 0) return key.direction === 'asc' ? order : -order;
  }
  return compareScalars(a.tenant, b.tenant);
}

async function fill(draw: Draw): Promise<Stored[]> {
  await opened.clear();
  const all: Stored[] = [];
  for (const tenant of ['a', 'b']) {
    const writes = Array.from({ length: 14 }, (_, i): Extract<Write, { kind: 'insert' | 'put' }> => {
      const expiresAt = draw.pick([undefined, undefined, at(0), at(1), at(500), DATES[4]!]);
      return {
        kind: 'insert',
        collection: things,
        id: `r${i}`,
        value: draw.value(),
        createdAt: draw.pick(DATES),
        ...(expiresAt === undefined ? {} : { expiresAt }),
      };
    });
    await backend.write({ tenant }, writes, contextAt(-10));
    for (const { id, value, createdAt, expiresAt } of writes)
      all.push({
        ...{ tenant, id, version: 1, createdAt: createdAt!, updatedAt: at(-10), value },
        ...(expiresAt === undefined ? {} : { expiresAt }),
      });
  }
  return all;
}

describe('finds', () => {
  test('agree with the oracle on random records, filters, sorts and cursors', async () => {
    let answers = 0;
    for (let round = 0; round < 12; round++) {
      const draw = new Draw(random(round * 1_000 + 7));
      const all = await fill(draw);
      for (let i = 0; i < 40; i++) {
        const source = draw.filter();
        const filter = filterOf(source);
        const sort = draw.sort();
        const scope = draw.maybe(0.2) ? ('all' as const) : A;
        const limit = draw.pick([1, 3, 100]);
        const matching = all
          .filter((record) => scope === 'all' || record.tenant === 'a')
          .filter((record) => record.expiresAt === undefined || record.expiresAt > ctx.now)
          .filter((record) => evaluate(filter, recordSubject(record, things.text)))
          .sort((a, b) => compare(sort, a, b));
        const shown = JSON.stringify({ source, sort });
        expect([shown, await backend.count(scope, { collection: things, filter }, ctx)]).toEqual([
          shown,
          matching.length,
        ]);
        const found = await backend.find(scope, { collection: things, filter, sort, limit }, ctx);
        expect([shown, found]).toEqual([shown, matching.slice(0, limit)]);
        answers += found.length;
        if (scope === 'all') continue;
        const start = draw.pick(all);
        const ranges = cursorRanges(
          sort,
          sort.map((key) => (recordField(start, key) ?? null) as Scalar),
        );
        const after = matching.filter((record) => compare(sort, { ...start, tenant: 'a' }, record) < 0);
        const page = await backend.find(scope, { collection: things, filter, sort, limit, ranges }, ctx);
        expect([shown, start.id, page]).toEqual([shown, start.id, after.slice(0, limit)]);
      }
    }
    expect(answers).toBeGreaterThan(500);
  });
});

describe('patches', () => {
  test('agree with their definition, alone and in batches', async () => {
    const seen = new Map<string, number>();
    for (let round = 0; round < 25; round++) {
      const draw = new Draw(random(round * 77 + 3));
      const all = (await fill(draw)).filter((record) => record.tenant === 'a');
      const writes = all.map((record): Extract<Write, { kind: 'patch' }> => ({
        kind: 'patch',
        collection: things,
        id: record.id,
        changes: drawChanges(draw),
        ...(draw.maybe(0.3) ? { if: filterOf(draw.filter()) } : {}),
        ...(draw.maybe(0.3) ? { orInsert: draw.value() } : {}),
        ...(draw.maybe(0.3) ? { expiresAt: draw.pick([null, at(700)]) } : {}),
      }));
      const expected = writes.map((write, i) => expectedPatch(write, all[i]!));
      const batch = await backend.write(A, writes, ctx);
      if (expected.some((result) => result.status !== 'patched'))
        expect(batch).toEqual(expected.map((result) => (result.status === 'patched' ? { status: 'skipped' } : result)));
      else expect(batch).toEqual(expected);
      const good = writes.filter((_, i) => expected[i]!.status === 'patched');
      const goodResults = expected.filter((result) => result.status === 'patched');
      if (round % 2 === 0 && good.length > 1 && good.length < writes.length)
        expect(await backend.write(A, good, ctx)).toEqual(goodResults);
      else
        for (const [i, write] of writes.entries()) {
          if (batch[i]!.status === 'patched') continue;
          const shown = JSON.stringify(write);
          expect([shown, await backend.write(A, [write], ctx)]).toEqual([shown, [expected[i]]]);
        }
      for (const { status } of expected) seen.set(status, (seen.get(status) ?? 0) + 1);
    }
    for (const status of ['patched', 'invalid', 'missing', 'unmatched']) expect(seen.get(status)).toBeGreaterThan(5);
  });

  function expectedPatch(write: Extract<Write, { kind: 'patch' }>, record: Stored): WriteResult {
    const expiry = write.expiresAt === undefined ? record.expiresAt : (write.expiresAt ?? undefined);
    if (record.expiresAt !== undefined && record.expiresAt <= ctx.now) {
      if (write.orInsert === undefined) return { status: 'missing' };
      const expires = write.expiresAt instanceof Date ? { expiresAt: write.expiresAt } : {};
      const envelope = { tenant: 'a', id: record.id, version: 1, createdAt: at(0), updatedAt: at(0) };
      return { status: 'patched', record: { ...envelope, ...expires, value: write.orInsert } };
    }
    if (write.if !== undefined && !evaluate(write.if, recordSubject(record, things.text)))
      return { status: 'unmatched', version: 1 };
    const tree = patchTree(write.changes);
    if ('overlap' in tree) throw new Error('overlap');
    const outcome = applyPatch(record.value, tree);
    if (!outcome.ok) return { status: 'invalid', path: outcome.path, reason: outcome.reason };
    const { tenant, id, createdAt } = record;
    const expires = expiry === undefined ? {} : { expiresAt: expiry };
    return {
      status: 'patched',
      record: { tenant, id, version: 2, createdAt, updatedAt: at(0), ...expires, value: outcome.value },
    };
  }
});

type Model = Map<string, Stored>;
type Plain = Exclude<Write, { kind: 'patch' }>;

/** What the contract says of one write at `now`; a record for what is there after it. */
function modelWrite(write: Plain, met: Stored | undefined, now: Date): { result: WriteResult; after?: Stored } {
  const live = met?.expiresAt !== undefined && met.expiresAt <= now ? undefined : met;
  if (write.kind === 'insert' && live !== undefined) return { result: { status: 'exists', version: live.version } };
  if (write.kind === 'replace' || write.kind === 'delete') {
    if (live === undefined) return { result: { status: 'missing' } };
    if (write.ifVersion !== undefined && write.ifVersion !== live.version)
      return { result: { status: 'conflict', version: live.version } };
    if (write.kind === 'delete') return { result: { status: 'deleted', record: live } };
  }
  const started = write.kind === 'replace' ? now : (write.createdAt ?? now);
  const [version, createdAt] = [(live?.version ?? 0) + 1, live?.createdAt ?? started];
  const expiry = write.expiresAt === undefined ? {} : { expiresAt: write.expiresAt };
  const after = { tenant: 'a', id: write.id, version, createdAt, updatedAt: now, ...expiry, value: write.value };
  return { result: { status: 'written', version, createdAt }, after };
}

describe('writes', () => {
  test('agree with the contract, alone, in batches and in sessions', async () => {
    const statuses = new Set<string>();
    for (let round = 0; round < 6; round++) {
      await opened.clear();
      const draw = new Draw(random(round * 31 + 1));
      const model: Model = new Map();
      for (let step = 0; step < 60; step++) {
        const context = contextAt(step * 10);
        const ids = ['p', 'q', 'r', 's', 't'].filter(() => draw.maybe(0.4));
        const writes = ids.map((id) => drawWrite(draw, id, model.get(id), step * 10));
        const outcomes = writes.map((write) => modelWrite(write, model.get(write.id), context.now));
        const failed = outcomes.some(({ result }) => !['written', 'deleted'].includes(result.status));
        const expected = outcomes.map(({ result }): WriteResult => {
          statuses.add(result.status);
          return failed && ['written', 'deleted'].includes(result.status) ? { status: 'skipped' } : result;
        });
        if (!failed)
          outcomes.forEach(({ after }, i) => {
            if (after === undefined) model.delete(ids[i]!);
            else model.set(ids[i]!, after);
          });
        const run = (inside: typeof context): Promise<WriteResult[]> => backend.write(A, writes, inside);
        const results = draw.maybe(0.3)
          ? await opened.pool.transaction({ context }, (session) => run({ ...context, session }))
          : await run(context);
        expect([step, writes, results]).toEqual([step, writes, expected]);
        const keys = ['p', 'q', 'nobody', 'r', 's', 't'].map((id) => ({ collection: things, id }));
        const read = await backend.read(A, keys, context);
        const there = keys.map(({ id }) => model.get(id));
        expect(read).toEqual(
          there.map((record) => (record?.expiresAt && record.expiresAt <= context.now ? undefined : record)),
        );
      }
    }
    expect([...statuses].sort()).toEqual(['conflict', 'deleted', 'exists', 'missing', 'written']);
  });
});

function drawWrite(draw: Draw, id: string, met: Stored | undefined, time: number): Plain {
  const key = { collection: things, id };
  const version = draw.maybe(0.3) ? { ifVersion: draw.maybe(0.7) ? (met?.version ?? 1) : 3 } : {};
  const expiry = draw.maybe(0.4) ? { expiresAt: at(time + draw.pick([10, 20, 25])) } : {};
  const created = draw.maybe(0.2) ? { createdAt: draw.pick(DATES) } : {};
  switch (draw.pick(['insert', 'put', 'replace', 'delete'] as const)) {
    case 'insert':
      // Mostly where it can succeed, or whole batches hardly ever would.
      return { ...key, kind: met === undefined ? 'insert' : 'put', value: draw.value(), ...expiry, ...created };
    case 'put':
      return { ...key, kind: draw.maybe(0.2) ? 'insert' : 'put', value: draw.value(), ...expiry, ...created };
    case 'replace':
      return { ...key, kind: 'replace', value: draw.value(), ...expiry, ...version };
    case 'delete':
      return { ...key, kind: 'delete', ...version };
  }
}
