/** `storage.kv`: JSON values under a namespace and a key. */
import { createHash } from 'node:crypto';
import type { JsonValue } from '../backends/backend.js';
import { defineOwnCollection } from '../collection/definition.js';
import type { CallOptions } from '../component.js';
import { json, text } from './arguments.js';
import { callOptions, defineStore, Store, type StoreHost } from './store.js';

interface EntryValue {
  readonly namespace: string;
  readonly key: string;
  readonly value: JsonValue;
  readonly sizeBytes: number;
}

export interface KeyValue {
  readonly namespace: string;
  readonly key: string;
  readonly found: boolean;
  readonly value?: JsonValue;
  readonly version?: number;
}

const ENTRIES = defineOwnCollection<EntryValue>({
  name: 'qm_kv',
  id: 'given',
  fields: { namespace: 'string', key: 'string', sizeBytes: 'number' },
  indexes: [{ keys: ['namespace', 'key'] }],
});

const KV = defineStore('kv', 'kv', [ENTRIES]);
const NAMESPACE = text(1_020);
const KEY = text(1_020);

export class KeyValueStore extends Store {
  constructor(host: StoreHost) {
    super(KV, host);
  }

  async get(namespace: string, key: string, options: CallOptions = {}): Promise<KeyValue> {
    const at = { namespace: NAMESPACE(namespace, 'namespace'), key: KEY(key, 'key') };
    const found = await this.run('get', options, () => this.records(ENTRIES).find(idOf(at), callOptions(options)));
    if (found === undefined) return { ...at, found: false };
    return { ...at, found: true, value: found.value.value, version: found.version };
  }

  async set(namespace: string, key: string, value: unknown, options: CallOptions = {}): Promise<KeyValue> {
    const at = { namespace: NAMESPACE(namespace, 'namespace'), key: KEY(key, 'key') };
    const stored = json(value, 'value');
    const entry = { ...at, value: stored, sizeBytes: Buffer.byteLength(JSON.stringify(stored)) };
    const { version } = await this.decide('set', options, async (unit) => {
      const known = await unit.find(ENTRIES, idOf(at));
      return known === undefined
        ? unit.insert(ENTRIES, entry, { id: idOf(at) })
        : unit.replace(ENTRIES, known, entry, undefined);
    });
    return { ...at, found: true, value: stored, version };
  }
}

function idOf({ namespace, key }: { namespace: string; key: string }): string {
  return createHash('sha256').update(`${namespace}\n${key}`).digest('hex');
}
