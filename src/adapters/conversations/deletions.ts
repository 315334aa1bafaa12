/** Deleting users and sessions: who named them names nobody then. */
import type { CollectionDefinition } from '../../collection/definition.js';
import { uuid } from '../arguments.js';
import type { CallOptions } from '../../component.js';
import { checkIfVersion, type ChangeOptions } from '../store.js';
import { ifVersion } from '../options.js';
import { optionsOf } from './input.js';
import { CONVERSATIONS, MESSAGES, SESSIONS, USERS } from './records.js';
import { TrimStore } from './trim.js';

const OPTIONS = optionsOf({ ifVersion });

export abstract class DeletionStore extends TrimStore {
  /**
   * Deletes a user and its sessions. Its conversations and messages stay, and name neither. In one transaction; where the
   * database has none, the user last, so that a call that was cut short can be repeated.
   * @returns whether it was there. @throws `CONFLICT` for another version
   */
  async deleteUser(id: string, options: ChangeOptions = {}): Promise<boolean> {
    const userId = uuid(id, 'id');
    const { ifVersion, ...call } = OPTIONS(options, 'options');
    return this.together(call, (inside) =>
      inside.removePerson(USERS, 'user', userId, ifVersion, call, async () => {
        const sessions: string[] = [];
        for await (const session of inside.records(SESSIONS).each({ userId }, call)) sessions.push(session.id);
        for (let i = 0; i < sessions.length; i += AT_ONCE) {
          const sessionId = { $in: sessions.slice(i, i + AT_ONCE) };
          await inside.records(CONVERSATIONS).updateWhere({ sessionId }, { unset: ['sessionId'] }, call);
        }
        await inside.records(CONVERSATIONS).updateWhere({ userId }, { unset: ['userId'] }, call);
        await inside.records(MESSAGES).updateWhere({ userId }, { unset: ['userId'] }, call);
        await inside.records(SESSIONS).deleteWhere({ userId }, call);
      }),
    );
  }

  /**
   * Deletes a session. Its conversations stay, and name it no more. In one transaction, as `deleteUser`.
   * @returns whether it was there. @throws `CONFLICT` for another version
   */
  async deleteSession(id: string, options: ChangeOptions = {}): Promise<boolean> {
    const sessionId = uuid(id, 'id');
    const { ifVersion, ...call } = OPTIONS(options, 'options');
    return this.together(call, (inside) =>
      inside.removePerson(SESSIONS, 'session', sessionId, ifVersion, call, async () => {
        await inside.records(CONVERSATIONS).updateWhere({ sessionId }, { unset: ['sessionId'] }, call);
      }),
    );
  }

  private together<R>(options: CallOptions, work: (inside: this) => Promise<R>): Promise<R> {
    if (!this.capabilities.purges) return this.steps('delete', () => work(this));
    return this.host.transaction(this.call(options), (host) => work(this.at(host)));
  }

  /** @param clear takes it out of what names it, also of what was left by a call before. */
  private async removePerson<T>(
    definition: CollectionDefinition<T>,
    what: string,
    id: string,
    ifVersion: number | undefined,
    options: CallOptions,
    clear: () => Promise<void>,
  ): Promise<boolean> {
    const operation = `delete${what}`;
    const call = this.call(options);
    const before = await this.reading(operation, call, (unit) => unit.find(definition, id));
    if (before !== undefined) checkIfVersion(before, what, ifVersion);
    await clear();
    return this.decide(operation, call, async (unit) => {
      const found = await unit.find(definition, id);
      if (found === undefined) return false;
      checkIfVersion(found, what, ifVersion);
      unit.remove(definition, found);
      return true;
    });
  }
}

/** Sessions that one filter names. */
const AT_ONCE = 500;
