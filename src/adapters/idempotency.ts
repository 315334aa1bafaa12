/** What was done under an idempotency key: the same again gives the same, and writes nothing. */
import { defineOwnCollection } from '../collection/definition.js';

export const IDEMPOTENCY = defineOwnCollection<{ content: string; result: string }>({
  name: 'qm_idempotency',
  id: 'given',
});

/** Milliseconds. */
export const REMEMBERED_FOR = 24 * 3_600_000;
