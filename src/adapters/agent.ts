/** `storage.agent(id)`: one agent's states, tasks and conversations, over the stores that everything else uses too. */
import { v5 } from 'uuid';
import type { CallOptions } from '../component.js';
import type { TransactionCallOptions } from '../unit-of-work/transaction.js';
import type { AgentStore, AgentState, AgentStateRevision, StateChangeOptions } from './agents.js';
import { id as readId } from './arguments.js';
import type { AddMessageOptions, NewConversationMessage } from './conversations/append.js';
import type { ConversationListOptions } from './conversations/threads.js';
import type { Conversation, Message } from './conversations/records.js';
import type { ConversationStore } from './conversations.js';
import type { ListPage, PageOptions } from './page.js';
import { callOptions } from './store.js';
import type { NewTask, TaskStore } from './tasks.js';
import type { KeyedOptions } from './tasks/linker.js';
import type { TaskListOptions } from './tasks/reader.js';
import type { Task, TaskChange } from './tasks/records.js';
import { Handle } from '../handle.js';

/** What an agent stands on: the manager, a tenant's handle, or a transaction. */
export interface AgentHost<Tx> {
  readonly agents: AgentStore;
  readonly tasks: TaskStore;
  readonly conversations: ConversationStore;
  transaction<R>(work: (tx: Tx) => Promise<R>, options?: TransactionCallOptions): Promise<R>;
}

/** Of the library's own: the namespace of the owners' ids that stand for agents. */
const NAMESPACE = '6a6f8f0e-6a43-4b1c-9a26-0d0f6f1d5c11';

export class Agent<Tx extends AgentHost<Tx>> extends Handle {
  /** As it was given: any text up to 255 bytes. */
  readonly id: string;
  /** What stands for it where an owner is a UUID: the same for the same id, everywhere. */
  readonly ownerId: string;

  constructor(
    private readonly host: AgentHost<Tx>,
    id: string,
  ) {
    super();
    this.id = readId(id, 'agentId');
    this.ownerId = v5(this.id, NAMESPACE);
  }

  toJSON(): Record<string, unknown> {
    return { id: this.id, ownerId: this.ownerId };
  }

  /** As `agents.saveState`. */
  saveState(key: string, state: object, options?: StateChangeOptions): Promise<AgentState> {
    return this.host.agents.saveState(this.id, key, state, options);
  }

  /** As `agents.getState`. */
  getState(key: string, options?: CallOptions): Promise<AgentState> {
    return this.host.agents.getState(this.id, key, options);
  }

  /** As `agents.findState`. */
  findState(key: string, options?: CallOptions): Promise<AgentState | undefined> {
    return this.host.agents.findState(this.id, key, options);
  }

  /** As `agents.listStates`. */
  listStates(options?: PageOptions & { readonly prefix?: string | undefined }): Promise<ListPage<AgentState>> {
    return this.host.agents.listStates(this.id, options);
  }

  /** As `agents.listStateRevisions`. */
  listStateRevisions(key: string, options?: PageOptions): Promise<ListPage<AgentStateRevision>> {
    return this.host.agents.listStateRevisions(this.id, key, options);
  }

  /** As `agents.deleteState`. */
  deleteState(key: string, options?: StateChangeOptions): Promise<void> {
    return this.host.agents.deleteState(this.id, key, options);
  }

  /** A task that the agent owns. */
  createTask(task: Omit<NewTask, 'ownerId'>, options?: KeyedOptions): Promise<TaskChange> {
    return this.host.tasks.create({ ...task, ownerId: this.ownerId }, options);
  }

  /** The tasks that the agent owns, as `tasks.list`. */
  listTasks(options: Omit<TaskListOptions, 'ownerId'> = {}): Promise<ListPage<Task>> {
    return this.host.tasks.list({ ...options, ownerId: this.ownerId });
  }

  /**
   * As `conversations.addMessage`. A conversation that is made, or that has no session, becomes the agent's; one that has a
   * session stays in that, and its user's.
   */
  addMessage(
    conversationId: string,
    message: Omit<NewConversationMessage, 'session' | 'sessionId'>,
    options: Omit<AddMessageOptions, 'keepSession'> = {},
  ): Promise<Message> {
    const own = { ...message, session: this.session };
    return this.host.conversations.addMessage(conversationId, own, { ...options, keepSession: true });
  }

  /** The agent's conversations, as `conversations.listConversations`. */
  async listConversations(options: Omit<ConversationListOptions, 'sessionId'> = {}): Promise<ListPage<Conversation>> {
    const { conversations } = this.host;
    const session = await conversations.findSession(this.session, callOptions(options));
    return session === undefined
      ? { items: [] }
      : conversations.listConversations({ ...options, sessionId: session.id });
  }

  /** `storage.transaction`, with the agent in it. */
  transaction<R>(work: (agent: Agent<Tx>, tx: Tx) => Promise<R>, options?: TransactionCallOptions): Promise<R> {
    return this.host.transaction((tx) => work(new Agent(tx, this.id), tx), options);
  }

  /** Its conversations are those of one session. */
  private get session(): string {
    return `agent:${this.id}`;
  }
}
