/** What runs on the server, without the values that it works with. */
import type { Document, MongoUse } from '../../../pools/mongo/operation-use.js';
import type { RunningOperation } from '../../operations.js';

/** One of `inprog`; which of these there are depends on the server. */
interface InProgress {
  readonly active?: boolean;
  readonly opid: unknown;
  readonly op?: string;
  readonly ns?: string;
  readonly command?: Document;
  readonly secs_running?: unknown;
  readonly microsecs_running?: unknown;
  readonly waitingForLock?: boolean;
  readonly client?: string;
  readonly appName?: string;
  readonly effectiveUsers?: readonly { readonly user: string }[];
}

export async function currentOperations(use: MongoUse, longerThan: number, now: Date): Promise<RunningOperation[]> {
  const { db } = use;
  const { signal } = use.callBounds();
  const { inprog } = (await db.admin().command({ currentOp: 1, active: true }, { signal })) as { inprog: InProgress[] };
  const own = `${db.databaseName}.`;
  return inprog
    .filter(({ active, ns }) => active === true && ns?.startsWith(own) === true)
    .map((operation) => shown(operation, now))
    .filter(({ age }) => age >= longerThan)
    .sort((a, b) => b.age - a.age);
}

function shown(operation: InProgress, now: Date): RunningOperation {
  const { opid, op = 'command', ns, command = {}, client, appName, effectiveUsers, waitingForLock } = operation;
  const { microsecs_running: micros, secs_running: seconds = 0 } = operation;
  const age = micros === undefined ? Number(seconds) * 1_000 : Number(micros) / 1_000;
  // The first key of a command is its name; all others may hold what the caller wrote.
  const [name = op] = Object.keys(command);
  const user = effectiveUsers?.[0]?.user;
  return {
    id: String(opid),
    ...(user === undefined ? {} : { user }),
    ...(appName === undefined ? {} : { application: appName }),
    ...(client === undefined ? {} : { address: client }),
    state: 'active',
    text: `${name} ${ns}`,
    startedAt: new Date(now.getTime() - age),
    age,
    ...(waitingForLock === true ? { waitsFor: 'Lock' } : {}),
  };
}
