/** `storage.agents`: what agents know, kept under the agent's id and a key, with what it was before. */
import { createHash } from 'node:crypto';
import type { JsonObject } from '../backends/backend.js';
import type { CallOptions } from '../component.js';
import { AGENTS, REVISIONS, STATES, type AgentValue, type RevisionValue, type StateValue } from './agents/records.js';
import { id, flag, integer, jsonObject, optional, shape, text, withDefault } from './arguments.js';
import { deletionToldUntil, type Actor } from './events.js';
import { CALL_MEMBERS, PAGE_MEMBERS, readCallOptions, readChangeOptions, readPageOptions } from './options.js';
import type { ListPage, PageOptions } from './page.js';
import type { StoreHost } from './host.js';
import { DAY, days } from './retention/days.js';
import { callOptions, checkIfVersion, Store, type ChangeOptions, type Entity } from './store.js';
import { defineStore } from './store-definition.js';
import type { Unit } from './unit.js';

export type AgentRecord = Entity<AgentValue>;
/** What an agent knows under one key. */
export type AgentState<State = JsonObject> = Entity<Omit<StateValue, 'state'> & { readonly state: State }>;
/** What it knew before. */
export type AgentStateRevision = Entity<RevisionValue>;

export interface AgentEvents {
  'agent.state_saved': { readonly key: string; readonly version: number };
  'agent.state_deleted': { readonly key: string };
  /** It can be read for 30 days. */
  'agent.deleted': { readonly states: number };
}

const STORE = defineStore('agents', 'agent', [AGENTS, STATES, REVISIONS], {
  aggregateId: id,
  // They are found by their age, too.
  eventIndexes: [{ keys: ['createdAt'] }],
});

/** Former states that are kept of each. */
const KEPT_REVISIONS = 100;

const KEY = text(512);
const readList = shape({ ...PAGE_MEMBERS, prefix: optional(KEY) });

const readRetention = shape({ agentEventDays: days });
const readRetain = shape({ ...CALL_MEMBERS, dryRun: withDefault(flag, false) });

/** Days after which events go, from 0 to 36,525; 0, null or absent: kept for as long as their agent. */
export interface AgentRetentionPolicy {
  readonly agentEventDays?: number | null | undefined;
}

/** How many records were deleted, or would be. */
export interface AgentRetention {
  readonly events: number;
}

export interface StateChangeOptions extends ChangeOptions, Actor {}

export class AgentStore extends Store {
  constructor(host: StoreHost) {
    super(STORE, host);
  }

  /** `write`: changes of states, which are atomic batches. */
  get capabilities(): { readonly write: boolean } {
    return { write: this.host.backend.capabilities.batch === 'atomic' };
  }

  /**
   * Keeps a JSON object under the key, whole; the former one becomes a revision, of which the newest 100 are kept.
   * @throws `VALIDATION`; `CONFLICT` when the version is another, `NOT_FOUND` when `ifVersion` is given and there is no state
   * yet; `UNSUPPORTED` without atomic batches.
   */
  async saveState(agentId: string, key: string, state: object, options: StateChangeOptions = {}): Promise<AgentState> {
    const at = placeOf(agentId, key);
    const json = jsonObject(state, 'state');
    return this.save('saveState', at, options, () => Promise.resolve(json));
  }

  /** Saves a former state anew. @throws `NOT_FOUND`, `CONFLICT` */
  async restoreState(
    agentId: string,
    key: string,
    revision: number,
    options: StateChangeOptions = {},
  ): Promise<AgentState> {
    const at = placeOf(agentId, key);
    const wanted = integer(1, Number.MAX_SAFE_INTEGER)(revision, 'revision');
    return this.save('restoreState', at, options, async (unit) => {
      const found = await unit.find(REVISIONS, revisionId(at, wanted));
      if (found === undefined) throw this.missing('The revision', String(wanted), 'restoreState');
      return found.value.state;
    });
  }

  /** `State` is the caller's word for what it saved. @throws `NOT_FOUND` */
  async getState<State extends object = JsonObject>(
    agentId: string,
    key: string,
    options: CallOptions = {},
  ): Promise<AgentState<State>> {
    const found = await this.findState<State>(agentId, key, options);
    if (found === undefined) throw this.missing('The state', key, 'getState');
    return found;
  }

  /** As `getState`, with `undefined` for what is not there. */
  async findState<State extends object = JsonObject>(
    agentId: string,
    key: string,
    options: CallOptions = {},
  ): Promise<AgentState<State> | undefined> {
    const stateId = stateIdOf(placeOf(agentId, key));
    const call = readCallOptions(options, 'options');
    const record = await this.reading('findState', call, (unit) => unit.find(STATES, stateId));
    return record === undefined ? undefined : (this.entity(record) as AgentState<object> as AgentState<State>);
  }

  /** One page of an agent's states in the order of their keys; with `prefix` those whose keys begin with it. */
  async listStates(
    agentId: string,
    options: PageOptions & { readonly prefix?: string | undefined } = {},
  ): Promise<ListPage<AgentState>> {
    const { prefix, ...page } = readList(options, 'options');
    const keys = prefix === undefined ? {} : { key: { $startsWith: prefix } };
    return this.page(STATES, { agentId: id(agentId, 'agentId'), ...keys }, { agentId: 'asc', key: 'asc' }, page);
  }

  /** One page of what a state was before, the newest first. */
  async listStateRevisions(
    agentId: string,
    key: string,
    options: PageOptions = {},
  ): Promise<ListPage<AgentStateRevision>> {
    const sort = { agentId: 'desc', key: 'desc', revision: 'desc' } as const;
    return this.page(REVISIONS, placeOf(agentId, key), sort, readPageOptions(options, 'options'));
  }

  /** One page of the tenant's agents that have or had states, and are not deleted, by id. */
  async list(options: PageOptions = {}): Promise<ListPage<AgentRecord>> {
    return this.page(AGENTS, { gone: { $exists: false } }, { id: 'asc' }, readPageOptions(options, 'options'));
  }

  /**
   * Deletes an agent: its states, what they were before, and its events but the last, which can be read for 30 days. Its tasks
   * and conversations stay. Its id stays known, with the place of its last event, for one that is made under it again.
   * @throws `NOT_FOUND`; `CONFLICT` for another version; `UNSUPPORTED` without transactions
   */
  async delete(agentId: string, options: StateChangeOptions = {}): Promise<void> {
    const key = id(agentId, 'agentId');
    const { ifVersion, ...actor } = readChangeOptions(options, 'options');
    const call = callOptions(options);
    await this.host.transaction(call, (host) => this.at(host).deleteInside(key, ifVersion, actor, call));
  }

  private async deleteInside(
    agentId: string,
    ifVersion: number | undefined,
    actor: Actor,
    call: CallOptions,
  ): Promise<void> {
    // The agent first: who writes to it meanwhile loses, and decides again.
    await this.decide('delete', call, async (unit) => {
      const agent = await unit.find(AGENTS, agentId);
      if (agent === undefined || agent.value.gone === true) throw this.missing('The agent', agentId, 'delete');
      checkIfVersion(agent, 'The agent', ifVersion);
      const next = unit.replace(AGENTS, agent, { states: 0, gone: true });
      unit.event(next, 'deleted', { states: agent.value.states }, actor, deletionToldUntil(unit.now));
    });
    await this.records(STATES).deleteWhere({ agentId }, call);
    await this.records(REVISIONS).deleteWhere({ agentId }, call);
    const { events } = this.definition;
    await this.records(events).deleteWhere({ aggregateId: agentId, type: { $ne: 'agent.deleted' } }, call);
  }

  /** Deletes a state and its revisions. @throws `NOT_FOUND`, `CONFLICT` */
  async deleteState(agentId: string, key: string, options: StateChangeOptions = {}): Promise<void> {
    const at = placeOf(agentId, key);
    const { ifVersion, ...actor } = readChangeOptions(options, 'options');
    await this.decide('deleteState', options, async (unit) => {
      const [agent, known, revisions] = await Promise.all([
        unit.find(AGENTS, at.agentId),
        unit.find(STATES, stateIdOf(at)),
        unit.query(REVISIONS, at, { sort: { agentId: 'asc', key: 'asc', revision: 'asc' } }),
      ]);
      if (agent === undefined || known === undefined) throw this.missing('The state', at.key, 'deleteState');
      checkIfVersion(known, 'The state', ifVersion, at.key);
      unit.remove(STATES, known);
      for (const revision of revisions) unit.remove(REVISIONS, revision);
      const next = unit.replace(AGENTS, agent, { states: agent.value.states - 1 });
      unit.event(next, 'state_deleted', { key: at.key }, actor);
    });
  }

  /**
   * Deletes the tenant's events that are older than `agentEventDays` days, in steps: a call that ends half-way is gone on with by
   * the next one. States, and what they were before, stay.
   * @param options `dryRun`: only counts; `timeout`: of each step
   */
  async retain(
    policy: AgentRetentionPolicy,
    options: CallOptions & { readonly dryRun?: boolean | undefined } = {},
  ): Promise<AgentRetention> {
    const { agentEventDays } = readRetention(policy, 'policy');
    const { dryRun } = readRetain(options, 'options');
    if (agentEventDays === 0) return { events: 0 };
    const call = callOptions(options);
    const old = { createdAt: { $lt: new Date(this.host.clock.now().getTime() - agentEventDays * DAY) } };
    const events = this.records(this.definition.events);
    return { events: await (dryRun ? events.count(old, call) : events.deleteWhere(old, call)) };
  }

  private save(
    operation: string,
    at: Place,
    options: StateChangeOptions,
    stateOf: (unit: Unit) => Promise<JsonObject>,
  ): Promise<AgentState> {
    const { ifVersion, ...actor } = readChangeOptions(options, 'options');
    return this.decide(operation, options, async (unit) => {
      const [agent, known, state] = await Promise.all([
        unit.find(AGENTS, at.agentId),
        unit.find(STATES, stateIdOf(at)),
        stateOf(unit),
      ]);
      if (known === undefined && ifVersion !== undefined) throw this.missing('The state', at.key, operation);
      if (known !== undefined) checkIfVersion(known, 'The state', ifVersion, at.key);
      const value = { ...at, state };
      const saved =
        known === undefined ? unit.insert(STATES, value, { id: stateIdOf(at) }) : unit.replace(STATES, known, value);
      if (known !== undefined) await this.keepRevision(unit, at, known.version, known.value);
      const states = (agent?.value.states ?? 0) + (known === undefined ? 1 : 0);
      const next =
        agent === undefined
          ? unit.insert(AGENTS, { states }, { id: at.agentId })
          : unit.replace(AGENTS, agent, { states });
      unit.event(next, 'state_saved', { key: at.key, version: saved.version }, actor);
      return this.entity(saved);
    });
  }

  private async keepRevision(unit: Unit, at: Place, revision: number, value: StateValue): Promise<void> {
    unit.insert(REVISIONS, { ...value, revision }, { id: revisionId(at, revision) });
    if (revision <= KEPT_REVISIONS) return;
    const oldest = await unit.find(REVISIONS, revisionId(at, revision - KEPT_REVISIONS));
    if (oldest !== undefined) unit.remove(REVISIONS, oldest);
  }
}

type Place = Pick<StateValue, 'agentId' | 'key'>;

function placeOf(agentId: string, key: string): Place {
  return { agentId: id(agentId, 'agentId'), key: KEY(key, 'key') };
}

/** Agent and key may be as long as an id together. */
function stateIdOf({ agentId, key }: Place): string {
  return createHash('sha256').update(`${agentId}\n${key}`).digest('hex');
}

function revisionId(at: Place, revision: number): string {
  return `${stateIdOf(at)}:${revision}`;
}
