/** Values as the texts of the protocol, both ways. Nothing here depends on `pg.types`, which a host may have changed. */
import { invalid } from '../../errors.js';
import type { SqlValue } from '../pool.js';
import { instantText, parseInstant } from '../timestamptz.js';

export type Encoded = string | Buffer | null;
export type Parse = (text: string) => unknown;

export function encodeAll(values: readonly SqlValue[]): Encoded[] {
  const encoded = new Array<Encoded>(values.length);
  for (let i = 0; i < values.length; i++) encoded[i] = encode(values[i]!);
  return encoded;
}

function encode(value: SqlValue): Encoded {
  if (typeof value === 'string') return value;
  if (value === null || value === undefined) return null;
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  return Array.isArray(value) ? arrayText(value as readonly SqlValue[]) : scalarText(value as number | boolean | Date);
}

/** `Infinity` is spelled so for numbers and times alike; -0 would lose its sign. */
function scalarText(value: number | boolean | Date): string {
  if (value instanceof Date) {
    if (Number.isNaN(value.getTime())) throw invalid('parameter', value, 'a valid date');
    return instantText(value);
  }
  return Object.is(value, -0) ? '-0' : String(value);
}

function arrayText(values: readonly SqlValue[]): string {
  let text = '{';
  for (let i = 0; i < values.length; i++) {
    if (i > 0) text += ',';
    const value = values[i]!;
    if (value === null || value === undefined) text += 'NULL';
    else if (typeof value === 'string') text += quoted(value);
    else if (value instanceof Uint8Array) text += `"\\\\x${Buffer.from(value).toString('hex')}"`;
    else if (Array.isArray(value)) text += arrayText(value as readonly SqlValue[]);
    else text += quoted(scalarText(value as number | boolean | Date));
  }
  return `${text}}`;
}

function quoted(text: string): string {
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}

/** @param parse what an element's text stands for; NULL is null. */
function arrayOf(parse: Parse): Parse {
  return (text) => parseArray(text, parse);
}

/** An array's text, perhaps with its bounds: `[0:1]={1,NULL,"a\"b",{2}}`. */
function parseArray(text: string, parse: Parse): unknown[] {
  let at = text.indexOf('{');
  const items = (): unknown[] => {
    const found: unknown[] = [];
    at++;
    while (text[at] !== '}') {
      if (text[at] === '{') found.push(items());
      else if (text[at] === '"') found.push(parse(quotedItem()));
      else {
        const start = at;
        while (text[at] !== ',' && text[at] !== '}') at++;
        const item = text.slice(start, at);
        found.push(item === 'NULL' ? null : parse(item));
      }
      if (text[at] === ',') at++;
    }
    at++;
    return found;
  };
  const quotedItem = (): string => {
    let item = '';
    let start = ++at;
    for (; text[at] !== '"'; at++)
      if (text[at] === '\\') {
        item += text.slice(start, at);
        start = ++at;
      }
    item += text.slice(start, at);
    at++;
    return item;
  };
  return items();
}

const asIs: Parse = (text) => text;
const toBoolean: Parse = (text) => text === 't';
const toJson: Parse = (text) => JSON.parse(text) as unknown;
const toNumber: Parse = Number;

function toBytes(text: string): Uint8Array {
  const bytes = Buffer.from(text.slice(2), 'hex');
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

// pg_type's oids, which never change, each with that of its array.
const TYPES: readonly (readonly [oid: number, array: number, parse: Parse])[] = [
  [16, 1000, toBoolean],
  [17, 1001, toBytes],
  [19, 1003, asIs],
  [20, 1016, toNumber],
  [21, 1005, toNumber],
  [23, 1007, toNumber],
  [25, 1009, asIs],
  [26, 1028, toNumber],
  [114, 199, toJson],
  [700, 1021, toNumber],
  [701, 1022, toNumber],
  [1042, 1014, asIs],
  [1043, 1015, asIs],
  [1184, 1185, parseInstant],
  [1700, 1231, asIs],
  [2950, 2951, asIs],
  [3802, 3807, toJson],
];

const PARSERS = new Map<number, Parse>(
  TYPES.flatMap(([oid, array, parse]) => [
    [oid, parse],
    [array, arrayOf(parse)],
  ]),
);

/** What reads a column of a type; `undefined`: it is the library's to read. */
export function parserOf(oid: number): Parse | undefined {
  return PARSERS.get(oid);
}
