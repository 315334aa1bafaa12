/** Which statements the clients of `pg` send while something runs. */
import pg from 'pg';

type Query = (this: pg.Client, query: { readonly text: string } | string, ...rest: unknown[]) => unknown;

export async function statementsOf(work: () => Promise<unknown>): Promise<string[]> {
  const prototype = pg.Client.prototype as unknown as { query: Query };
  const original: Query = Reflect.get(prototype, 'query');
  const sent: string[] = [];
  prototype.query = function (query, ...rest) {
    sent.push(typeof query === 'string' ? query : query.text);
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
