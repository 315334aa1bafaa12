/** Runs a conformance suite within a test, so that what it says of a wrong implementation can be looked at. */
import type { TestRunner } from '../../src/testing/runner.js';

type Body = () => Promise<void> | void;

/**
 * Runs the tests below `block`, of a suite or of the whole.
 * @param declare calls `describeRecordBackend` or `describeVectorProvider` with the runner.
 * @returns the names of those that failed, and how many ran.
 */
export async function runSuite(
  declare: (runner: TestRunner) => void,
  block: string,
): Promise<{ readonly failed: string[]; readonly ran: number }> {
  const tests: { readonly path: readonly string[]; readonly name: string; readonly body: Body }[] = [];
  const [before, after]: [Body[], Body[]] = [[], []];
  const path: string[] = [];
  declare({
    describe(name, body) {
      path.push(name);
      body();
      path.pop();
    },
    test: (name, body) => void tests.push({ path: [...path], name, body }),
    beforeAll: (body) => void before.push(body),
    afterAll: (body) => void after.push(body),
  });
  const failed: string[] = [];
  let ran = 0;
  for (const body of before) await body();
  for (const { name, body } of tests.filter(({ path: blocks }) => blocks.includes(block))) {
    ran++;
    try {
      await body();
    } catch {
      failed.push(name);
    }
  }
  for (const body of after) await body();
  return { failed, ran };
}
