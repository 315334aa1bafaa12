/** `storage.conversations`: conversations, their messages, users and sessions. */
import { AppendStore } from './conversations/append.js';

export class ConversationStore extends AppendStore {}
