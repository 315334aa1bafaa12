/** `storage.conversations`: conversations, their messages, users and sessions. */
import { SearchStore } from './conversations/search.js';

export class ConversationStore extends SearchStore {}
