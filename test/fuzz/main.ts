/**
 * The differential tests in their long form: `npm run fuzz -- --cases 100000 [--vectors] [--seed N] [--target sqlite]`. Every
 * target that can be reached answers random cases beside the oracle, all in this process. The last line says how many
 * cases ran and how many properties disagreed; each disagreement is printed with the seed that replays it.
 */
import { parseArgs } from 'node:util';
import { fuzzRecords } from './records.js';
import { Tally } from './tally.js';
import { fuzzVectors } from './vectors.js';

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '10000' },
    seed: { type: 'string' },
    target: { type: 'string', multiple: true },
    vectors: { type: 'boolean', default: false },
  },
});
const cases = Number(values.cases);
const seed = values.seed === undefined ? {} : { seed: Number(values.seed) };
if (!Number.isSafeInteger(cases) || cases < 1) throw new Error('--cases: expected a whole number above 0');

const tally = new Tally();
const isAsked = (name: string): boolean => values.target === undefined || values.target.includes(name);
await (values.vectors ? fuzzVectors : fuzzRecords)({ cases, ...seed }, isAsked, tally);
console.log(`${tally.ran} cases ran, ${tally.disagreed} disagreed`);
process.exitCode = tally.disagreed === 0 ? 0 : 1;
