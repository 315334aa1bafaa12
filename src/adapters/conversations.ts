/** `storage.conversations`: conversations, their messages, users and sessions. */
import { TenantsStore } from './conversations/tenants.js';

export class ConversationStore extends TenantsStore {}
