/** On PGlite: the very statements that a collection sends, on PGlite itself, so that both meet the same tables and caches. */
import { PGlite } from '@electric-sql/pglite';
import { openStorage } from 'quartermaster';
import { compare, type Row } from '../measure.js';
import { each, idOf, now, Orders, PAGE, PAGE_FILTER, ROWS, valueOf, versions } from './orders.js';

interface Sent {
  readonly client: PGlite;
  readonly text: string;
}
let sent: Sent | undefined;
/** The statement that an operation sends, and the connection it sends it on. */
async function statementOf(work: () => Promise<unknown>): Promise<Sent> {
  const original: PGlite['execProtocolStream'] = Reflect.get(PGlite.prototype, 'execProtocolStream');
  PGlite.prototype.execProtocolStream = function (this: PGlite, message, ...rest) {
    // Parse: its name and its text, each with a zero behind it.
    if (message[0] === 80) sent = { client: this, text: Buffer.from(message.subarray(5)).toString().split('\0')[1]! };
    return original.call(this, message, ...rest);
  };
  await work();
  PGlite.prototype.execProtocolStream = original;
  return sent!;
}

export async function benchPglite(): Promise<Row[]> {
  await using storage = await openStorage({ databases: { main: 'pglite::memory:' } }, { environment: {} });
  const orders = storage.collection(Orders);
  await orders.load(ROWS);
  const insert = await statementOf(() => orders.insert(valueOf(0), { id: 'first' }));
  const get = await statementOf(() => orders.get('o1'));
  const replace = await statementOf(() => orders.replace('o1', valueOf(1), { ifVersion: 1 }));
  const find = () => orders.query(PAGE_FILTER, PAGE);
  const page = await statementOf(find);
  await insert.client.exec('ANALYZE');
  let made = 0;
  const next = versions([[1, 2]]);
  return [
    await compare(
      'insert',
      '0.9',
      each((i) => orders.insert(valueOf(i), { id: `n${made++}` })),
      each((i) =>
        insert.client.query(insert.text, [
          'default',
          `n${made++}`,
          now(),
          now(),
          'infinity',
          JSON.stringify(valueOf(i)),
        ]),
      ),
    ),
    await compare(
      'get by id',
      '0.9',
      each((i) => orders.get(idOf(i))),
      each((i) => get.client.query(get.text, ['default', idOf(i), now()])),
    ),
    await compare(
      'replace if version',
      '0.9',
      each((i) => orders.replace(`o${i}`, valueOf(i), { ifVersion: next(i) })),
      each((i) =>
        replace.client.query(replace.text, [
          'default',
          `o${i}`,
          now(),
          'infinity',
          JSON.stringify(valueOf(i)),
          next(i),
          null,
        ]),
      ),
    ),
    await compare(
      'page of 20, filtered and sorted',
      '0.9',
      each(find),
      each(() => page.client.query(page.text, ['default', now(), 's7', 21])),
      { count: 600 },
    ),
  ];
}
