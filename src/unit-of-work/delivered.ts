/** Which deliveries a database has had: each leaves its mark in the batch that it writes, and so is written once. */
import { defineOwnCollection } from '../collection/definition.js';

/** By the id of the message. */
export const DELIVERED = defineOwnCollection<Record<string, never>>({ name: 'qm_delivered', id: 'given' });

/** Milliseconds that a mark is kept: a message may wait so long for who delivers it to note that it has. */
export const DELIVERED_FOR = 30 * 24 * 3_600_000;
