/** What was asked for on the command line. */
import { parseArgs } from 'node:util';

export interface Arguments {
  readonly serve: boolean;
  readonly port: number;
  /** Which of the queries; absent: the first two. */
  readonly query: number | undefined;
  readonly top: number;
}

/** @throws `RangeError` with a line for the terminal. */
export function readArguments(given: string[], queries: number): Arguments {
  const { values } = parse(given);
  return {
    serve: values.serve === true,
    port: wholeNumber('port', values.port ?? '0', 0, 65_535),
    query: values.query === undefined ? undefined : wholeNumber('query', values.query, 0, queries - 1),
    top: wholeNumber('top', values.top ?? '5', 1, 100),
  };
}

function parse(given: string[]) {
  const string = { type: 'string' } as const;
  try {
    return parseArgs({
      args: given,
      options: { serve: { type: 'boolean' }, port: string, query: string, top: string },
    });
  } catch (error) {
    const [reason] = (error as Error).message.split('. ');
    throw new RangeError(`${reason} (known: --serve, --port, --query, --top)`, { cause: error });
  }
}

function wholeNumber(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < least || value > most)
    throw new RangeError(`--${name}: expected a whole number from ${least} to ${most}, got ${JSON.stringify(text)}`);
  return value;
}
