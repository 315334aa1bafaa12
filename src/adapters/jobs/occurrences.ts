/** When a schedule is due: cron text in a zone's local time, intervals from an anchor, once. */
import type { Cron } from 'croner';
import { invalid } from '../../errors.js';
import { instant } from '../arguments.js';
import type { ScheduleValue } from './records.js';

export type Recurrence = Pick<
  ScheduleValue,
  'scheduleType' | 'expression' | 'timezone' | 'startAt' | 'endAt' | 'anchorAt'
>;

/** The first occurrence strictly after a time. */
export type Next = (after: Date) => Date | undefined;

/** Occurrences that are made up for at most. */
export const MOST_MISSED = 100;
/** Milliseconds before now in which they are looked for at first. */
const NEAREST = 60_000;

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const KNOWN = 256;
const parsed = new Map<string, Cron>();

/** @throws `VALIDATION` for an expression or a zone that is none, and cron text of a time that never comes. */
export async function readRecurrence(recurrence: Recurrence): Promise<Next> {
  const { startAt, endAt } = recurrence;
  const next = await nextOf(recurrence);
  return (after) => {
    const from = startAt !== undefined && after < startAt ? new Date(startAt.getTime() - 1) : after;
    const found = next(from);
    return found === undefined || (endAt !== undefined && found >= endAt) ? undefined : found;
  };
}

async function nextOf({ scheduleType, expression, timezone, anchorAt }: Recurrence): Promise<Next> {
  checkZone(timezone);
  if (scheduleType === 'interval') return interval(expression, anchorAt);
  if (scheduleType === 'cron') return cron(expression, timezone);
  const at = instant(expression, 'schedule.expression');
  return (after) => (at > after ? new Date(at) : undefined);
}

/** Ten years, in milliseconds. */
const LONGEST_INTERVAL = 315_576_000_000;

function interval(expression: string, anchor: Date): Next {
  const [, digits, unit] = /^(\d{1,9})\s*([smhd])?$/i.exec(expression) ?? [];
  const every = Number(digits) * UNITS[(unit ?? 's').toLowerCase()]!;
  if (!(every > 0 && every <= LONGEST_INTERVAL))
    throw invalid(
      'schedule.expression',
      expression,
      'a whole number of seconds above 0, or one with s, m, h or d after it, up to ten years',
    );
  return (after) => {
    const passed = Math.floor((after.getTime() - anchor.getTime()) / every);
    return new Date(anchor.getTime() + Math.max(passed + 1, 0) * every);
  };
}

async function cron(expression: string, timezone: string): Promise<Next> {
  const key = `${timezone}\n${expression}`;
  let known = parsed.get(key);
  if (known === undefined) {
    known = await parseCron(expression, timezone);
    if (parsed.size >= KNOWN) parsed.clear();
    parsed.set(key, known);
  }
  const pattern = known;
  return (after) => pattern.nextRun(after) ?? undefined;
}

async function parseCron(expression: string, timezone: string): Promise<Cron> {
  const other = /^(\d+[smhd]?|P.*)$/i.test(expression)
    ? "; for seconds, or 15m, 2h, 1d, scheduleType is 'interval'"
    : /^\d{4}-/.test(expression)
      ? "; for a time, scheduleType is 'once'"
      : '';
  const expected = `cron text of 5 or 6 fields, or a name such as @daily, that has a time to come${other}`;
  if (!/^@\w+$/.test(expression) && ![5, 6].includes(expression.split(/\s+/).length))
    throw invalid('schedule.expression', expression, expected);
  const { Cron } = await import('croner');
  try {
    // Also a list of hours is one local time each: what the change of the clocks repeats runs once.
    const pattern = new Cron(expression, { paused: true, timezone, fixedTimeRule: 'no-wildcard' });
    if (pattern.nextRun(new Date(0)) !== null) return pattern;
  } catch {
    // It names parts of the text; what is expected tells more.
  }
  throw invalid('schedule.expression', expression, expected);
}

function checkZone(timezone: string): void {
  try {
    new Intl.DateTimeFormat('en', { timeZone: timezone });
  } catch {
    throw invalid('schedule.timezone', timezone, 'a zone of the IANA database, such as Europe/Berlin');
  }
}

/** Whether it has occurrences to come, also when they come once it is resumed. */
export function isToCome({ nextRunAt, paused }: Pick<ScheduleValue, 'nextRunAt' | 'paused'>): boolean {
  return nextRunAt !== undefined || paused;
}

/** The occurrences from `first` to `now`, the last 100 of them. */
export function missedOccurrences(next: Next, first: Date, now: Date): Date[] {
  const second = next(first);
  if (second === undefined || second > now) return [first];
  // From `now` back, further each time: of a month of seconds only the last ones are looked at, whatever lies before them.
  for (let window = NEAREST; ; window *= 8) {
    const whole = now.getTime() - window <= first.getTime();
    const found: Date[] = whole ? [first] : [];
    let at: Date | undefined = whole ? first : new Date(now.getTime() - window);
    while ((at = next(at)) !== undefined && at <= now) found.push(at);
    if (whole || found.length >= MOST_MISSED) return found.slice(-MOST_MISSED);
  }
}

/** Which of the occurrences that are due are run. */
export function toRun(
  due: readonly Date[],
  now: Date,
  { misfire, misfireGraceSeconds }: Pick<ScheduleValue, 'misfire' | 'misfireGraceSeconds'>,
): readonly Date[] {
  const onTime = due.filter((at) => now.getTime() - at.getTime() <= misfireGraceSeconds * 1_000);
  if (onTime.length === due.length || misfire === 'runAll') return due;
  return misfire === 'skip' ? onTime : due.slice(-1);
}
