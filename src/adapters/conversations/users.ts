/** Users and sessions: found by the host's own names for them, made when they are first met. */
import type { JsonObject } from '../../backends/backend.js';
import type { StoredRecord } from '../../collection/record-codec.js';
import type { CallOptions } from '../../component.js';
import { ConflictError } from '../../errors.js';
import { isDate, isPlainObject } from '../../filter/json.js';
import { uuid } from '../arguments.js';
import { readPageOptions } from '../options.js';
import type { ListPage, PageOptions } from '../page.js';
import { checkIfVersion, type ChangeOptions, type Entity } from '../store.js';
import type { Unit } from '../unit.js';
import { ConversationBase } from './base.js';
import { defined } from '../defined.js';
import { NAME, PROFILE, PROFILE_OPTIONS, READ_OPTIONS, SESSION, SESSION_OPTIONS, USER } from './input.js';
import { SESSIONS, USERS, type Session, type SessionValue, type User, type UserValue } from './records.js';

export interface UserChanges {
  readonly displayName?: string | undefined;
  readonly metadata?: object | undefined;
}

export interface SessionChanges {
  readonly userId?: string | undefined;
  readonly metadata?: object | undefined;
  /** From then on it is not there; `null`: never. Absent: as before. */
  readonly expiresAt?: Date | string | null | undefined;
}

export interface UserProfile {
  readonly username: string;
  readonly displayName?: string;
  readonly profile: JsonObject;
  readonly documents: JsonObject;
  readonly userId: string;
  /** That of the user, whose other changes count too. */
  readonly version: number;
}

export interface ProfileChanges {
  readonly displayName?: string | undefined;
  /** Replaces the profile. */
  readonly profile?: object | undefined;
  /** Replace the documents, or with `mergeDocuments` are put over them, key by key. */
  readonly documents?: object | undefined;
  readonly mergeDocuments?: boolean | undefined;
}

export abstract class UserStore extends ConversationBase {
  /** The user of this name of the host's; made, or changed when something is new. Metadata are merged, key by key. */
  async ensureUser(externalId: string, changes: UserChanges = {}, options: CallOptions = {}): Promise<User> {
    const name = NAME(externalId, 'externalId');
    const user = USER(changes, 'user');
    const call = READ_OPTIONS(options, 'options');
    return this.entity(
      await this.again(() =>
        this.decide('ensureUser', call, async (unit) => this.userOf(unit, name, await findUser(unit, name), user)),
      ),
    );
  }

  /** By the id of the user. @throws `NOT_FOUND` */
  async getUser(id: string, options: CallOptions = {}): Promise<User> {
    const key = uuid(id, 'id');
    const found = await this.run('getUser', READ_OPTIONS(options, 'options'), () =>
      this.records(USERS).find(key, this.call(options)),
    );
    if (found === undefined) throw this.missing('user', key, 'getUser');
    return this.entity(found);
  }

  /** `null` when there is no such user. */
  async getUserProfile(username: string, options: CallOptions = {}): Promise<UserProfile | null> {
    const name = NAME(username, 'username');
    const page = await this.page(USERS, { externalId: name }, undefined, {
      ...READ_OPTIONS(options, 'options'),
      limit: 1,
    });
    return page.items[0] === undefined ? null : profileOf(page.items[0]);
  }

  /** The users that have a name, the first made first. */
  async listUserProfiles(options: PageOptions = {}): Promise<ListPage<UserProfile>> {
    const read = readPageOptions(options, 'options');
    const page = await this.page(USERS, { externalId: { $exists: true } }, { createdAt: 'asc' }, read);
    return { ...page, items: page.items.map(profileOf) };
  }

  /** The profile of the user of this name, who is made when new. @throws with `ifVersion`: `NOT_FOUND`, `CONFLICT` */
  async upsertUserProfile(
    username: string,
    changes: ProfileChanges,
    options: ChangeOptions = {},
  ): Promise<UserProfile> {
    const name = NAME(username, 'username');
    const { displayName, profile, documents, mergeDocuments } = PROFILE(changes, 'profile');
    const { ifVersion, ...call } = PROFILE_OPTIONS(options, 'options');
    const record = await this.again(() =>
      this.decide('upsertUserProfile', call, async (unit) => {
        const known = await findUser(unit, name);
        if (known !== undefined) checkIfVersion(known, 'user', ifVersion);
        else if (ifVersion !== undefined) throw this.missing('user', name, 'upsertUserProfile');
        const before = mergeDocuments ? objectAt(known?.value.metadata, 'documents') : {};
        const metadata: JsonObject = defined({
          profile,
          documents: documents === undefined ? undefined : { ...before, ...documents },
        });
        return this.userOf(unit, name, known, { displayName, metadata });
      }),
    );
    return profileOf(this.entity(record));
  }

  /**
   * The session of this name of the host's; made, or changed when something is new. Metadata are merged, key by key.
   * @throws `CONFLICT` when it is another user's, unless `rebind`; `NOT_FOUND` for the user.
   */
  async ensureSession(
    externalId: string,
    changes: SessionChanges = {},
    options: CallOptions & { readonly rebind?: boolean | undefined } = {},
  ): Promise<Session> {
    const name = NAME(externalId, 'externalId');
    const session = SESSION(changes, 'session');
    const { rebind, ...call } = SESSION_OPTIONS(options, 'options');
    const expiresAt = changes.expiresAt === undefined ? undefined : session.expiresAt;
    const record = await this.again(() =>
      this.decide('ensureSession', this.call(call), async (unit) => {
        const [known, user] = await Promise.all([findSession(unit, name), this.userWith(unit, session.userId)]);
        return this.sessionOf(unit, name, known, { ...session, userId: user, expiresAt }, rebind);
      }),
    );
    return this.sessionEntity(record);
  }

  /** By the id of the session. @throws `NOT_FOUND`, also once it has expired */
  async getSession(id: string, options: CallOptions = {}): Promise<Session> {
    const key = uuid(id, 'id');
    const found = await this.run('getSession', READ_OPTIONS(options, 'options'), () =>
      this.records(SESSIONS).find(key, this.call(options)),
    );
    if (found === undefined) throw this.missing('session', key, 'getSession');
    return this.sessionEntity(found);
  }

  /** By the host's name for it; `undefined` for what is not there. */
  async findSession(externalId: string, options: CallOptions = {}): Promise<Session | undefined> {
    const name = NAME(externalId, 'externalId');
    const call = this.call(READ_OPTIONS(options, 'options'));
    const found = await this.reading('findSession', call, (unit) => findSession(unit, name));
    return found === undefined ? undefined : this.sessionEntity(found);
  }

  /** The user as this unit leaves it: made, changed, or as it is. */
  protected userOf(
    unit: Unit,
    externalId: string,
    known: StoredRecord<UserValue> | undefined,
    { displayName, metadata = {} }: { displayName?: string | undefined; metadata?: JsonObject | undefined },
  ): StoredRecord<UserValue> {
    if (known === undefined) return unit.insert(USERS, defined({ externalId, displayName, metadata }));
    const { value } = known;
    const next = defined({
      ...value,
      displayName: displayName ?? value.displayName,
      metadata: { ...value.metadata, ...metadata },
    });
    return isSame(value, next) ? known : unit.replace(USERS, known, next);
  }

  /** The id of a user that has to be there. @throws `NOT_FOUND` */
  protected async userWith(unit: Unit, id: string | undefined): Promise<string | undefined> {
    if (id !== undefined && (await unit.find(USERS, id)) === undefined) throw this.missing('user', id, 'userId');
    return id;
  }

  /** The session as this unit leaves it. @throws `CONFLICT` */
  protected sessionOf(
    unit: Unit,
    externalId: string,
    known: StoredRecord<SessionValue> | undefined,
    changes: { userId?: string | undefined; metadata?: JsonObject | undefined; expiresAt?: Date | null | undefined },
    rebind: boolean,
  ): StoredRecord<SessionValue> {
    const { userId, metadata = {}, expiresAt } = changes;
    if (known === undefined)
      return unit.insert(SESSIONS, defined({ externalId, userId, metadata }), { expiresAt: expiresAt ?? undefined });
    return this.sessionWith(unit, known, { userId, metadata, expiresAt }, rebind);
  }

  /** A session that is there, changed. @throws `CONFLICT` */
  protected sessionWith(
    unit: Unit,
    known: StoredRecord<SessionValue>,
    changes: { userId?: string | undefined; metadata?: JsonObject | undefined; expiresAt?: Date | null | undefined },
    rebind: boolean,
  ): StoredRecord<SessionValue> {
    const { userId, metadata = {}, expiresAt } = changes;
    const { value } = known;
    if (userId !== undefined && value.userId !== undefined && value.userId !== userId && !rebind)
      throw new ConflictError(
        'CONFLICT',
        `session ${JSON.stringify(known.id)} is another user's (rebind: true takes it)`,
        {
          component: this.definition.name,
          details: { id: known.id, reason: 'rebind', userId: value.userId },
        },
      );
    const next = defined({ ...value, userId: userId ?? value.userId, metadata: { ...value.metadata, ...metadata } });
    const until = expiresAt === undefined ? known.expiresAt : (expiresAt ?? undefined);
    if (isSame(value, next) && until?.getTime() === known.expiresAt?.getTime()) return known;
    const { expiresAt: _before, ...kept } = known;
    return unit.replace(SESSIONS, kept, next, { expiresAt: until });
  }

  private sessionEntity(record: StoredRecord<SessionValue>): Session {
    const session = this.entity(record);
    return record.expiresAt === undefined ? session : { ...session, expiresAt: record.expiresAt };
  }
}

export async function findUser(unit: Unit, externalId: string): Promise<StoredRecord<UserValue> | undefined> {
  return (await unit.query(USERS, { externalId }, { limit: 1 }))[0];
}

export async function findSession(unit: Unit, externalId: string): Promise<StoredRecord<SessionValue> | undefined> {
  return (await unit.query(SESSIONS, { externalId }, { limit: 1 }))[0];
}

function profileOf({ id, version, externalId, displayName, metadata }: Entity<UserValue>): UserProfile {
  const [profile, documents] = [objectAt(metadata, 'profile'), objectAt(metadata, 'documents')];
  return defined({ username: externalId!, displayName, profile, documents, userId: id, version });
}

function objectAt(metadata: JsonObject | undefined, key: string): JsonObject {
  const value = metadata?.[key];
  return isPlainObject(value) ? value : {};
}

/** Whether both are stored the same, whatever the order of their keys. */
export function isSame(a: unknown, b: unknown): boolean {
  if (isDate(a) && isDate(b)) return a.getTime() === b.getTime();
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length &&
    keys.every(
      (key) =>
        Object.hasOwn(b, key) && isSame((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]),
    )
  );
}
