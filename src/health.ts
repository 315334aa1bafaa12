/**
 * One report over the health of all components. Each check is bounded, shared by everybody who asks while it runs, and
 * cached for a short time, so that probes cost the databases next to nothing.
 */
import type { Clock } from './clock.js';
import type { CheckResult, Component, HealthStatus } from './component.js';
import { foreignErrorName, isStorageError, type StorageError } from './errors.js';

export interface ComponentHealth {
  readonly name: string;
  readonly status: HealthStatus;
  /** Whether the manager is unhealthy when this component is. */
  readonly critical: boolean;
  /** Milliseconds that the check took; absent when none ran to its end. */
  readonly latencyMs?: number;
  /** The cause, when there is one to name. Never a secret. */
  readonly message?: string;
  /** What the component tells of itself: a pool's size, idle, waiting, max. */
  readonly details: Readonly<Record<string, unknown>>;
  readonly checkedAt: Date;
}

export interface HealthReport {
  readonly overall: HealthStatus;
  readonly checkedAt: Date;
  /** By the component's name. */
  readonly components: Readonly<Record<string, ComponentHealth>>;
}

/** The answer of one probe. */
export interface Verdict {
  readonly ok: boolean;
  /** Why not. Never a secret. */
  readonly message?: string;
}

/** A component as the monitor sees it; what `Lifecycle.components()` answers is one. */
export interface Monitored {
  readonly component: Component;
  readonly critical: boolean;
  /** Anything but `open` is not checked: it is unhealthy. Default: `open`. */
  readonly state?: string;
  /** Why it is not open. */
  readonly error?: StorageError;
}

export interface HealthMonitorOptions {
  readonly components: () => readonly Monitored[];
  /** `state` is `ready` while operations are admitted; `started` once an opening has succeeded. */
  readonly lifecycle: { readonly state: string; readonly started: boolean };
  readonly clock: Clock;
  /** Milliseconds that one check may take. */
  readonly timeout: number;
  /** Milliseconds for which a result is answered again; 0: only checks in flight are shared. */
  readonly cache: number;
}

const STATUSES: readonly unknown[] = ['healthy', 'degraded', 'unhealthy', 'unknown'] satisfies HealthStatus[];

/** What is known of one component. */
interface Track {
  /** The check whose answer is awaited. */
  running?: Promise<ComponentHealth> | undefined;
  /** When a check began that overran its time and has not settled since. */
  overrunSince?: number | undefined;
  last?: ComponentHealth;
  /** Whether its last check said that only another opening cures it. */
  isFinal?: boolean;
  lastAt: number;
}

export class HealthMonitor {
  // By the object, so that what is composed anew at a restart starts afresh.
  private readonly tracks = new WeakMap<Component, Track>();

  constructor(private readonly options: HealthMonitorOptions) {}

  /** Checks all components at once. Never rejects. */
  async report(): Promise<HealthReport> {
    return this.reportOn(this.options.components());
  }

  /**
   * Whether the process is alive. Asks no dependency: restarting the process would not cure a database. It would cure an
   * engine within the process whose last check has said that nothing else does.
   */
  live(): Verdict {
    const ended = this.options
      .components()
      .filter(({ component, critical, state = 'open' }) => {
        return critical && state === 'open' && this.tracks.get(component)?.isFinal === true;
      })
      .map(({ component }) => component.name);
    return ended.length === 0 ? { ok: true } : { ok: false, message: `Needs a restart: ${ended.join(', ')}` };
  }

  /** Whether requests should be sent here: the manager is ready and no critical component is unhealthy. */
  async ready(): Promise<Verdict> {
    const before = this.notReady();
    if (before !== undefined) return before;
    const report = await this.reportOn(this.options.components().filter(({ critical }) => critical));
    // A close may have begun while the checks ran.
    const after = this.notReady();
    if (after !== undefined) return after;
    const unhealthy = Object.values(report.components).filter(({ status }) => status === 'unhealthy');
    if (unhealthy.length === 0) return { ok: true };
    return { ok: false, message: `Unhealthy: ${unhealthy.map(({ name }) => name).join(', ')}` };
  }

  /** Whether an opening has finished once; it stays so. */
  startup(): Verdict {
    return this.options.lifecycle.started ? { ok: true } : { ok: false, message: 'The opening has not finished' };
  }

  private notReady(): Verdict | undefined {
    const { state } = this.options.lifecycle;
    return state === 'ready' ? undefined : { ok: false, message: `The storage manager is ${state}` };
  }

  private async reportOn(monitored: readonly Monitored[]): Promise<HealthReport> {
    const components = await Promise.all(monitored.map((one) => this.health(one)));
    return {
      overall: overallStatus(components),
      checkedAt: this.options.clock.now(),
      components: Object.fromEntries(components.map((one) => [one.name, one])),
    };
  }

  private health(monitored: Monitored): Promise<ComponentHealth> {
    const { component, state = 'open', error } = monitored;
    const { clock, cache } = this.options;
    if (state !== 'open' || error !== undefined)
      return Promise.resolve(
        this.result(monitored, { status: 'unhealthy', message: error?.message ?? notOpen(state) }),
      );
    const track = this.tracks.get(component) ?? { lastAt: 0 };
    this.tracks.set(component, track);
    if (track.running !== undefined) return track.running;
    const now = clock.monotonic();
    if (track.last !== undefined && now - track.lastAt < cache) return Promise.resolve(track.last);
    if (track.overrunSince !== undefined)
      return Promise.resolve(
        this.result(monitored, {
          status: 'unhealthy',
          message: `The health check has not answered for ${Math.round(now - track.overrunSince)} ms`,
        }),
      );
    track.running = this.run(monitored, track).then((result) => {
      track.running = undefined;
      track.last = result;
      track.lastAt = clock.monotonic();
      return result;
    });
    return track.running;
  }

  private run(monitored: Monitored, track: Track): Promise<ComponentHealth> {
    const { clock, timeout } = this.options;
    const started = clock.monotonic();
    const controller = new AbortController();
    // An async arrow, so that a check that throws synchronously rejects like any other, and one whose answer throws when it is read.
    const check = (async () => checked(await monitored.component.check(controller.signal)))()
      .catch(rejected)
      .catch(unreadable);
    return new Promise((resolve) => {
      const timer = clock.after(timeout, () => {
        track.overrunSince = started;
        resolve(this.result(monitored, { status: 'unhealthy', message: `The health check took over ${timeout} ms` }));
        controller.abort(new Error('The health check timed out'));
      });
      void check.then((answer) => {
        timer.cancel();
        track.overrunSince = undefined;
        track.isFinal = answer.status === 'unhealthy' && answer.final === true;
        const latencyMs = Math.round((clock.monotonic() - started) * 100) / 100;
        resolve({ ...this.result(monitored, answer), latencyMs });
      });
    });
  }

  private result({ component, critical }: Monitored, { status, message, details }: CheckResult): ComponentHealth {
    return {
      name: component.name,
      status,
      critical,
      ...(message === undefined ? {} : { message }),
      details: details ?? {},
      checkedAt: this.options.clock.now(),
    };
  }
}

/**
 * The status of the whole: `unknown` without components; `unhealthy` when a critical one is; `degraded` when another one is
 * unhealthy, or any is degraded or unknown (a critical one too); else `healthy`.
 */
export function overallStatus(
  components: readonly { readonly status: HealthStatus; readonly critical: boolean }[],
): HealthStatus {
  if (components.length === 0) return 'unknown';
  if (components.some(({ status, critical }) => critical && status === 'unhealthy')) return 'unhealthy';
  return components.every(({ status }) => status === 'healthy') ? 'healthy' : 'degraded';
}

function notOpen(state: string): string {
  return `The component is not open (${state})`;
}

function rejected(reason: unknown): CheckResult {
  const message = isStorageError(reason) ? reason.message : `The health check failed (${foreignErrorName(reason)})`;
  return { status: 'unhealthy', message };
}

/** What a third party's check rejected with may throw by itself, when it is looked at. */
function unreadable(): CheckResult {
  return { status: 'unhealthy', message: 'The health check failed' };
}

/** A third party's check may answer anything: what is no result is unhealthy, what is no field of one is left out. */
function checked(answer: unknown): CheckResult {
  const { status, message, details, final } = (answer ?? {}) as Record<string, unknown>;
  if (!STATUSES.includes(status))
    return { status: 'unhealthy', message: 'The health check did not answer with a status' };
  return {
    status: status as HealthStatus,
    ...(typeof message === 'string' ? { message } : {}),
    ...(typeof details === 'object' && details !== null ? { details: plain(details) } : {}),
    ...(final === true ? { final } : {}),
  };
}

/** One field that cannot be written would keep the whole report from being one. */
function plain(details: object): Record<string, unknown> {
  const written = Object.entries(details).map(([key, value]) => [key, asJson(value)] as const);
  return Object.fromEntries(written.filter(([, value]) => value !== undefined));
}

function asJson(value: unknown): unknown {
  try {
    const text = JSON.stringify(value, (_key, part: unknown) => (typeof part === 'bigint' ? String(part) : part)) as
      string | undefined;
    return text === undefined ? undefined : JSON.parse(text);
  } catch {
    return 'not JSON';
  }
}
