/** What the store of agents keeps. */
import type { JsonObject } from '../../backends/backend.js';
import { defineOwnCollection } from '../../collection/definition.js';

export interface AgentValue {
  /** How many states it has. */
  readonly states: number;
}

export interface AgentRecordValue extends AgentValue {
  /** Set while it is deleted: its version goes on, so that no seq of an event comes twice. */
  readonly gone?: true;
}

export interface StateValue {
  readonly agentId: string;
  readonly key: string;
  readonly state: JsonObject;
}

export interface RevisionValue extends StateValue {
  /** The version of the state when it was this. */
  readonly revision: number;
}

/** The aggregate: every change of a state replaces its agent's record. */
export const AGENTS = defineOwnCollection<AgentRecordValue>({
  name: 'qm_agents',
  id: 'given',
  fields: { states: 'number' },
});
export const STATES = defineOwnCollection<StateValue>({
  name: 'qm_agent_states',
  id: 'given',
  fields: { agentId: 'string', key: 'string' },
  indexes: [{ keys: ['agentId', 'key'] }],
});
export const REVISIONS = defineOwnCollection<RevisionValue>({
  name: 'qm_agent_state_revisions',
  id: 'given',
  fields: { agentId: 'string', key: 'string', revision: 'number' },
  indexes: [{ keys: ['agentId', 'key', 'revision'] }],
});
