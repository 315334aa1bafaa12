/**
 * The HTTP handler of the probes. It needs of a request and a response what node:http gives, so that it mounts in
 * node:http, Express, Fastify and Nest alike.
 */
import type { HealthStatus } from './component.js';
import { isStorageError } from './errors.js';
import type { ComponentHealth, HealthReport, Verdict } from './health.js';

/** What the handler reads of a request. */
export interface ProbeRequest {
  readonly method?: string | undefined;
  /** As the framework gives it: within a mounted handler of Express the prefix is gone from it. */
  readonly url?: string | undefined;
}

/** What the handler needs of a response. */
export interface ProbeResponse {
  statusCode: number;
  setHeader(name: string, value: string | number): unknown;
  end(body?: string): unknown;
}

/** Where the answers come from: the manager. */
export interface ProbeSource {
  live(): Verdict;
  ready(): Promise<Verdict>;
  startup(): Verdict;
  health(): Promise<HealthReport>;
}

/** Answers its four paths; others go to `next`, or are answered with 404 where there is none. */
export type ProbeHandler = (request: ProbeRequest, response: ProbeResponse, next?: () => void) => void;

interface Answer {
  readonly ok: boolean;
  readonly body: Readonly<Record<string, unknown>>;
}

type Respond = (source: ProbeSource) => Answer | Promise<Answer>;

const PATHS: ReadonlyMap<string, Respond> = new Map<string, Respond>([
  ['/livez', (source) => verdictAnswer(source.live())],
  ['/readyz', async (source) => verdictAnswer(await source.ready())],
  ['/startupz', (source) => verdictAnswer(source.startup())],
  ['/health', async (source) => reportAnswer(await source.health())],
]);

// The three words of the draft. What we do not know is not said to have failed.
const DRAFT_STATUS = {
  healthy: 'pass',
  degraded: 'warn',
  unknown: 'warn',
  unhealthy: 'fail',
} as const satisfies Record<HealthStatus, string>;

/**
 * The handler of GET and HEAD on `/livez`, `/readyz`, `/startupz` and `/health`: 200 when it is well (a degraded manager
 * is), else 503; 405 for other methods. Bodies are `application/health+json` after draft-inadarei-api-health-check-06
 * (`status`: `pass`, `warn` or `fail`; `output`: the cause; `checks`); that of `/health` carries the report's `overall`,
 * `checkedAt` and `components` beside it. They hold no stack, and of a driver's words only
 * those of a server on a statement that it refused (SQLSTATE class 42), which name tables and columns.
 */
export function createProbes(source: ProbeSource): ProbeHandler {
  return (request, response, next) => {
    const path = (request.url ?? '/').split(/[?#]/, 1)[0]!;
    const respond = PATHS.get(path);
    if (respond === undefined) {
      if (next !== undefined) return next();
      return send(request, response, 404, { status: 'fail', output: 'There is no probe at this path' });
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('Allow', 'GET, HEAD');
      return send(request, response, 405, { status: 'fail', output: 'A probe takes GET and HEAD' });
    }
    void answerTo(respond, source).then(({ ok, body }) => send(request, response, ok ? 200 : 503, body));
  };
}

async function answerTo(respond: Respond, source: ProbeSource): Promise<{ ok: boolean; body: string }> {
  try {
    const { ok, body } = await respond(source);
    return { ok, body: JSON.stringify(body, withoutStack) };
  } catch (error) {
    const output = isStorageError(error) ? error.message : 'The probe could not be answered';
    return { ok: false, body: JSON.stringify({ status: 'fail', output }) };
  }
}

/** `storage.health()` has the stack of who holds a connection too long: it tells of the host's code, and goes to nobody else. */
function withoutStack(key: string, value: unknown): unknown {
  return key === 'stack' && typeof value === 'string' ? undefined : value;
}

function verdictAnswer({ ok, message }: Verdict): Answer {
  return { ok, body: { status: ok ? 'pass' : 'fail', ...(message === undefined ? {} : { output: message }) } };
}

function reportAnswer({ overall, checkedAt, components }: HealthReport): Answer {
  const checks = Object.values(components).map((component) => [checkKey(component.name), [check(component)]] as const);
  return {
    ok: overall !== 'unhealthy',
    body: { status: DRAFT_STATUS[overall], overall, checkedAt, components, checks: Object.fromEntries(checks) },
  };
}

/** `component:measurement`, as the draft names its checks; a component's own name may not hold the colon there. */
function checkKey(name: string): string {
  return `${name.replaceAll(':', '.')}:responseTime`;
}

function check({ name, status, latencyMs, message, checkedAt }: ComponentHealth): Record<string, unknown> {
  return {
    componentId: name,
    componentType: 'datastore',
    ...(latencyMs === undefined ? {} : { observedValue: latencyMs, observedUnit: 'ms' }),
    status: DRAFT_STATUS[status],
    time: checkedAt,
    ...(message === undefined || status === 'healthy' ? {} : { output: message }),
  };
}

function send(request: ProbeRequest, response: ProbeResponse, status: number, body: string | object): void {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  try {
    response.statusCode = status;
    response.setHeader('Content-Type', 'application/health+json');
    response.setHeader('Cache-Control', 'no-store');
    response.setHeader('Content-Length', Buffer.byteLength(text));
    if (request.method === 'HEAD') response.end();
    else response.end(text);
  } catch {
    // Someone else has answered already; a probe must not end the process over it.
  }
}
