/** Whether a task may name a conversation. */
import { CONVERSATIONS } from '../conversations/records.js';
import type { StoreHost } from '../host.js';

/** Of the tenant, wherever it lives. */
export function conversationExists(host: StoreHost, id: string): Promise<boolean> {
  return host.collection('conversations', CONVERSATIONS).has(id);
}
