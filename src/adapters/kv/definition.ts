/** What the key-value store keeps. */
import { defineStore } from '../store-definition.js';
import { ENTRIES } from './entries.js';
import { LOCKS } from './locks.js';
import { USAGE } from './usage.js';

export const KV = defineStore('kv', 'kv', [ENTRIES, USAGE, LOCKS], { tells: false });
