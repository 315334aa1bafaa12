/** Kills processes in the midst of what they do, at moments that a seed draws, and then looks at what is there. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { random } from '../../support/random.js';
import { openReceiver } from './receiver.js';
import { audit, type Told, type Verdict } from './audit.js';
import type { KillTarget, PreparedKills } from './targets.js';

const CHILD = fileURLToPath(new URL('./child.js', import.meta.url));
/** What a run that fails leaves alive would go on for ever. */
const living = new Set<ChildProcess>();

export interface KillOptions {
  readonly kills: number;
  /** Processes at a time; on a database that takes one, it is one. */
  readonly children: number;
  /** Draws roles and moments. Where a process is at that moment is the machine's. */
  readonly seed: number;
  /** Ends the run early: those that live are killed at their moments, and then it is looked at what is there. */
  readonly signal?: AbortSignal;
}

/** One process to be killed. */
interface Plan {
  readonly name: string;
  readonly role: 'writer' | 'relay' | 'both';
  /** Counted from its beginning, or from when it was at work. */
  readonly from: 'start' | 'ready';
  readonly milliseconds: number;
}

export async function runKills(target: KillTarget, options: KillOptions): Promise<Verdict> {
  const prepared = await target.prepare();
  try {
    // Its table is there before two processes make it at once.
    await (await openReceiver(prepared.receiver)).close();
    const plans = drawPlans(target, options);
    const told: Told = { acknowledged: new Set(), refused: new Map() };
    let kills = 0;
    const work = async (): Promise<void> => {
      for (let plan = plans.pop(); plan !== undefined && options.signal?.aborted !== true; plan = plans.pop()) {
        await live(plan, prepared, told);
        kills++;
      }
    };
    await Promise.all(Array.from({ length: target.alone ? 1 : options.children }, work));
    return await audit(prepared, told, kills);
  } finally {
    living.forEach((child) => child.kill('SIGKILL'));
    await prepared.drop();
  }
}

function drawPlans({ alone }: KillTarget, { kills, seed }: KillOptions): Plan[] {
  const draw = random(seed);
  const plans = Array.from({ length: kills }, (_, i): Plan => {
    // The first one writes, and is at work: nothing is proven where nothing was acknowledged.
    const role = alone ? 'both' : draw() < 0.5 || i === 0 ? 'writer' : 'relay';
    // One in ten dies while it opens, or soon after.
    const from = draw() < 0.1 && i > 0 ? 'start' : 'ready';
    const milliseconds = from === 'start' ? draw() * 1_000 : 50 + draw() * 350;
    return { name: `w${i}`, role, from, milliseconds };
  });
  return plans.reverse();
}

/** Starts a process, notes what it says, and kills it at its moment. */
async function live({ name, role, from, milliseconds }: Plan, { url, receiver }: PreparedKills, told: Told) {
  const child = spawn(process.execPath, [CHILD, role, url, receiver, name], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'] },
  });
  living.add(child);
  let complaint = '';
  child.stderr.on('data', (data: Buffer) => (complaint += data.toString()));
  const kill = (): void => void setTimeout(() => child.kill('SIGKILL'), milliseconds);
  if (from === 'start') kill();
  createInterface({ input: child.stdout }).on('line', (line) => {
    const [what, id, code] = line.split(' ');
    if (what === 'ready' && from === 'ready') kill();
    if (what === 'acknowledged') told.acknowledged.add(id!);
    if (what === 'refused') told.refused.set(id!, code!);
  });
  const [exitCode, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  living.delete(child);
  if (signal !== 'SIGKILL') throw new Error(`A ${role} ended by itself (${exitCode ?? signal}): ${complaint}`);
}
