/** Searching texts, alone and together with vectors. */
import assert from 'node:assert/strict';
import type { TestRunner } from './runner.js';
import { rejects, type VectorFixture } from './vector-target.js';

const TEXTS = {
  fox: 'The quick brown fox jumps over the lazy dog.',
  dog: 'A dog, a dog, a DOG: user@example.com wrote to example.com/dogs?x=1 about v1.2.3',
  cats: 'Cats and no others; l\u2019\u00c9T\u00c9 \u00fcber alles',
  marks: "\u65e5\u672c\u8a9e caf\u0065\u0301 x_y snake_case O'Brien 3.14 -5",
};

export function describeVectorText({ describe, test }: TestRunner, fixture: () => VectorFixture): void {
  const capabilities = () => fixture().provider.capabilities;

  describe('texts', () => {
    const filled = async (): Promise<string> => {
      const name = await fixture().collection({ text: {} });
      const vectors = { fox: [1, 0, 0], dog: [0, 1, 0], cats: [0, 0, 1], marks: [1, 1, 1], bare: [1, 1, 0] };
      await fixture()
        .store()
        .upsert(
          name,
          Object.entries(vectors).map(([id, vector]) => {
            const text = TEXTS[id as keyof typeof TEXTS] as string | undefined;
            return { id, vector, metadata: { letters: id.length }, ...(text === undefined ? {} : { text }) };
          }),
        );
      await fixture().settle();
      return name;
    };

    test('are found by all of their words, whatever the case', async () => {
      if (!capabilities().text) return rejects(fixture().collection({ text: {} }), 'UNSUPPORTED');
      const name = await filled();
      const found = async (text: string, more: object = {}): Promise<string[]> =>
        (
          await fixture()
            .store()
            .search(name, { text, ...more })
        )
          .map(({ id }) => id)
          .sort();
      const cases: readonly (readonly [string, string[]])[] = [
        ['dog', ['dog', 'fox']],
        ['DOG lazy', ['fox']],
        ['dog cat', []],
        ['example', ['dog']],
        ['user example com', ['dog']],
        ['1 2 3', ['dog']],
        ['\u00e9t\u00e9', ['cats']],
        ['e\u0301te\u0301', ['cats']],
        ['caf\u00e9', ['marks']],
        ['\u65e5\u672c\u8a9e', ['marks']],
        ['case snake y', ['marks']],
        ["o'brien", ['marks']],
        ['14 5', ['marks']],
        ["dog' | 'cats", []],
        ['x'.repeat(3_000), []],
      ];
      for (const [text, ids] of cases) assert.deepEqual(await found(text), ids, text);
      assert.deepEqual(await found('dog', { filter: { letters: { $gt: 3 } } }), []);
      assert.deepEqual(await found('dog', { namespace: 'other' }), []);
      assert.equal((await found('dog', { topK: 1 })).length, 1);
      const [hit] = await fixture().store().search(name, { text: 'quick' });
      assert.equal(hit?.text, TEXTS.fox);
    });

    test('and vectors together: the ranks in both count', async () => {
      if (!capabilities().text) return;
      const name = await filled();
      const hits = await fixture()
        .store()
        .search(name, { vector: [0, 1, 0.1], text: 'dog lazy' });
      // The text gives fox alone, which is fourth by its vector.
      assert.deepEqual(
        hits.slice(0, 2).map(({ id }) => id),
        ['fox', 'dog'],
      );
      assert.equal(hits.length, 5);
      assert.ok(Math.abs(hits[1]!.score - 1 / 61) < 1e-12, String(hits[1]!.score));
    });

    test('and vectors together: what is far down in both lists is found before what is first in one', async () => {
      if (!capabilities().text) return;
      const name = await fixture().collection({ text: {} });
      // The longer the angle to [1, 0, 0], the later in the list of the vector; of equal texts the order is that of the ids.
      const at = (i: number): number[] => [Math.cos(i / 100), Math.sin(i / 100), 0];
      const id = (i: number): string => String(i).padStart(3, '0');
      const near = Array.from({ length: 49 }, (_, i) => ({ id: id(i), vector: at(i), text: 'other' }));
      const said = Array.from({ length: 49 }, (_, i) => ({ id: id(i + 49), vector: at(60 + i), text: 'word' }));
      const both = { id: 'both', vector: at(55), text: 'word' };
      await fixture()
        .store()
        .upsert(name, [...near, ...said, both]);
      await fixture().settle();
      const [hit] = await fixture()
        .store()
        .search(name, { vector: [1, 0, 0], text: 'word', topK: 1 });
      assert.deepEqual([hit?.id, Math.abs(hit!.score - 2 / 110) < 1e-12], ['both', true]);
    });

    test('are changed and deleted with their records', async () => {
      if (!capabilities().text) return;
      const name = await filled();
      const store = fixture().store();
      await store.upsert(name, [{ id: 'fox', vector: [1, 0, 0], text: 'a hedgehog' }]);
      await store.upsert(name, [{ id: 'cats', vector: [1, 0, 0] }]);
      await store.delete(name, ['dog']);
      await fixture().settle();
      for (const text of ['lazy', 'cats', 'user']) assert.deepEqual(await store.search(name, { text }), []);
      assert.equal((await store.search(name, { text: 'hedgehog' }))[0]?.id, 'fox');
    });

    test('what cannot be searched for is refused', async () => {
      const plain = await fixture().collection();
      await rejects(fixture().store().search(plain, { text: 'x' }), 'UNSUPPORTED');
      if (!capabilities().text) return;
      const name = await fixture().collection({ text: {} });
      for (const text of ['', ' .,!', 7, null, '\ud800'])
        await rejects(
          fixture()
            .store()
            .search(name, { text: text as string }),
          'VALIDATION',
        );
      await rejects(fixture().store().search(name, { text: 'x', minScore: 0 }), 'VALIDATION', 'minScore');
      await rejects(
        fixture()
          .store()
          .upsert(name, [{ id: 'a', vector: [1, 0, 0], text: 'x'.repeat(262_145) }]),
        'VALIDATION',
      );
      await rejects(fixture().collection({ text: { language: 'No Such' } }), 'VALIDATION');
      // As many different words as fit: what a server makes of them has a limit of its own.
      const words = Array.from({ length: 60_000 }, (_, i) => i.toString(36))
        .join(' ')
        .slice(0, 262_144);
      await fixture()
        .store()
        .upsert(name, [{ id: 'long', vector: [1, 0, 0], text: words }]);
      await fixture().settle();
      assert.equal((await fixture().store().search(name, { text: 'zz' })).length, 1);
    });
  });
}
