/** Which statements the clients of `pg` send while something runs: each, and before it those that travel with it. */
import pg from 'pg';

export interface Sent {
  readonly text: string;
  /** As the server takes them; absent for what has no parameters. */
  readonly values?: readonly unknown[];
}

type Query = (
  this: pg.Client,
  query: (Sent & { readonly preface?: readonly (Sent | string)[] }) | string,
  ...rest: unknown[]
) => unknown;

export async function statementsOf(work: () => Promise<unknown>): Promise<string[]> {
  return (await sentBy(work)).map(({ text }) => text);
}

/** But for commands that only go before another: BEGIN, SAVEPOINT. */
export async function sentBy(work: () => Promise<unknown>): Promise<Sent[]> {
  const prototype = pg.Client.prototype as unknown as { query: Query };
  const original: Query = Reflect.get(prototype, 'query');
  const sent: Sent[] = [];
  prototype.query = function (query, ...rest) {
    if (typeof query === 'string') sent.push({ text: query });
    else {
      const before = (query.preface ?? []).filter((part): part is Sent => typeof part !== 'string');
      for (const { text, values } of [...before, query])
        sent.push(values === undefined || text === 'COMMIT' ? { text } : { text, values: [...values] });
    }
    return original.call(this, query, ...rest);
  };
  try {
    await work();
    return sent;
  } finally {
    prototype.query = original;
  }
}

/** The text that an operation sends last. */
export async function textOf(work: () => Promise<unknown>): Promise<string> {
  return (await statementsOf(work)).at(-1) ?? '';
}
