/** `storage.conversations`: conversations, their messages, users and sessions. */
import { TransferStore } from './conversations/transfer.js';

export class ConversationStore extends TransferStore {}
