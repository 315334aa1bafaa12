/** When schedules are due: cron text at the changes of daylight saving time, intervals, once; and what was missed. */
import { describe, expect, test } from '@jest/globals';
import { missedOccurrences, readRecurrence, toRun, type Recurrence } from '../../src/adapters/jobs/occurrences.js';

const at = (text: string): Date => new Date(text);
const recurrence = (expression: string, more: Partial<Recurrence> = {}): Recurrence => ({
  scheduleType: 'cron',
  expression,
  timezone: 'UTC',
  anchorAt: at('2026-01-01T00:00:00Z'),
  ...more,
});

async function first(count: number, given: Recurrence, after: string): Promise<string[]> {
  const next = await readRecurrence(given);
  const found: string[] = [];
  let time: Date | undefined = at(after);
  while (found.length < count && (time = next(time)) !== undefined) found.push(time.toISOString());
  return found;
}

describe('cron', () => {
  test.each([
    ['Europe/Berlin', '30 2 * * *', '2026-03-28T12:00:00Z', ['2026-03-29T01:00:00.000Z', '2026-03-30T00:30:00.000Z']],
    ['Europe/Berlin', '30 2 * * *', '2026-10-24T12:00:00Z', ['2026-10-25T00:30:00.000Z', '2026-10-26T01:30:00.000Z']],
    [
      'America/New_York',
      '30 2 * * *',
      '2026-03-07T12:00:00Z',
      ['2026-03-08T07:00:00.000Z', '2026-03-09T06:30:00.000Z'],
    ],
    [
      'America/New_York',
      '30 1 * * *',
      '2026-10-31T12:00:00Z',
      ['2026-11-01T05:30:00.000Z', '2026-11-02T06:30:00.000Z'],
    ],
    [
      'America/New_York',
      '0 30 1,2 * * *',
      '2026-11-01T04:00:00Z',
      ['2026-11-01T05:30:00.000Z', '2026-11-01T07:30:00.000Z'],
    ],
    // A change by half an hour.
    [
      'Australia/Lord_Howe',
      '15 2 * * *',
      '2026-10-03T12:00:00Z',
      ['2026-10-03T15:30:00.000Z', '2026-10-04T15:15:00.000Z'],
    ],
    [
      'Australia/Lord_Howe',
      '45 1 * * *',
      '2026-04-04T12:00:00Z',
      ['2026-04-04T14:45:00.000Z', '2026-04-05T15:15:00.000Z'],
    ],
    // Two times that are left out are one instant.
    [
      'Europe/Berlin',
      '15,45 2 * * *',
      '2026-03-28T12:00:00Z',
      ['2026-03-29T01:00:00.000Z', '2026-03-30T00:15:00.000Z'],
    ],
    [
      'Europe/Berlin',
      '0 9 * * MON-FRI',
      '2026-03-27T09:00:00Z',
      ['2026-03-30T07:00:00.000Z', '2026-03-31T07:00:00.000Z'],
    ],
    ['UTC', '@daily', '2026-05-01T00:00:00Z', ['2026-05-02T00:00:00.000Z', '2026-05-03T00:00:00.000Z']],
    ['UTC', '*/20 * * * * *', '2026-05-01T00:00:59.999Z', ['2026-05-01T00:01:00.000Z', '2026-05-01T00:01:20.000Z']],
    ['UTC', '0 0 29 2 *', '2026-01-01T00:00:00Z', ['2028-02-29T00:00:00.000Z', '2032-02-29T00:00:00.000Z']],
  ])('in %s of %s', async (timezone, expression, after, expected) => {
    expect(await first(2, recurrence(expression, { timezone }), after)).toEqual(expected);
  });

  test('of every hour runs each hour that passes, the repeated one too', async () => {
    const found = await first(4, recurrence('0 * * * *', { timezone: 'Europe/Berlin' }), '2026-10-24T23:30:00Z');
    expect(found).toEqual([0, 1, 2, 3].map((hour) => `2026-10-25T0${hour}:00:00.000Z`));
  });

  test.each([
    '',
    '* * * *',
    '0 0 0 1 1 * 2030',
    '99 * * * *',
    '0 0 30 2 *',
    '@often',
    'not a cron text',
    '* * * * * x',
  ])('refuses %j', async (expression) => {
    await expect(readRecurrence(recurrence(expression))).rejects.toMatchObject({
      code: 'VALIDATION',
      details: { key: 'schedule.expression' },
    });
  });

  test.each([
    ['15m', /scheduleType is 'interval'/],
    ['30', /scheduleType is 'interval'/],
    ['2027-01-01T00:00:00Z', /scheduleType is 'once'/],
  ])('tells of %s which type of schedule it is of', async (expression, hint) => {
    await expect(readRecurrence(recurrence(expression))).rejects.toThrow(hint);
  });

  test('refuses a zone that is none', async () => {
    for (const scheduleType of ['cron', 'interval'] as const)
      await expect(
        readRecurrence(
          recurrence(scheduleType === 'cron' ? '* * * * *' : '5', { scheduleType, timezone: 'Mars/Phobos' }),
        ),
      ).rejects.toMatchObject({ code: 'VALIDATION', details: { key: 'schedule.timezone' } });
  });
});

describe('other schedules', () => {
  test('an interval counts from its anchor, through the changes of the clocks', async () => {
    const given = recurrence('12h', {
      scheduleType: 'interval',
      timezone: 'Europe/Berlin',
      anchorAt: at('2026-03-28T06:00:00Z'),
    });
    expect(await first(3, given, '2026-03-28T06:00:00Z')).toEqual([
      '2026-03-28T18:00:00.000Z',
      '2026-03-29T06:00:00.000Z',
      '2026-03-29T18:00:00.000Z',
    ]);
    expect(await first(1, given, '2020-01-01T00:00:00Z')).toEqual(['2026-03-28T06:00:00.000Z']);
  });

  test('once is once', async () => {
    const given = recurrence('2026-05-01 10:00:00', { scheduleType: 'once' });
    expect(await first(3, given, '2026-01-01T00:00:00Z')).toEqual(['2026-05-01T10:00:00.000Z']);
    expect(await first(3, given, '2026-05-01T10:00:00Z')).toEqual([]);
  });

  test.each([
    ['interval', '0'],
    ['interval', '-5'],
    ['interval', '5 weeks'],
    ['once', 'tomorrow'],
  ] as const)('%s refuses %j', async (scheduleType, expression) => {
    await expect(readRecurrence(recurrence(expression, { scheduleType }))).rejects.toMatchObject({
      code: 'VALIDATION',
    });
  });

  test('begin at startAt, which counts, and end before endAt', async () => {
    const given = recurrence('0 * * * *', { startAt: at('2026-05-01T10:00:00Z'), endAt: at('2026-05-01T12:00:00Z') });
    expect(await first(5, given, '2026-01-01T00:00:00Z')).toEqual([
      '2026-05-01T10:00:00.000Z',
      '2026-05-01T11:00:00.000Z',
    ]);
  });
});

describe('what was missed', () => {
  test('is found from the first to now, the last hundred of it', async () => {
    const next = await readRecurrence(recurrence('* * * * * *'));
    const now = at('2026-05-01T00:00:00Z');
    const days = missedOccurrences(next, at('2026-03-01T00:00:00Z'), now);
    expect(days.length).toBe(100);
    expect([days[0], days.at(-1)]).toEqual([at('2026-04-30T23:58:21Z'), now]);
    expect(missedOccurrences(next, at('2026-04-30T23:59:58Z'), now).length).toBe(3);
    expect(missedOccurrences(next, now, now)).toEqual([now]);
  });

  test('is run as the policy says', () => {
    const now = at('2026-05-01T12:00:00Z');
    const due = ['2026-05-01T10:00:00Z', '2026-05-01T11:00:00Z', '2026-05-01T11:59:30Z'].map(at);
    expect(toRun(due, now, { misfire: 'runOnce', misfireGraceSeconds: 60 })).toEqual(due.slice(-1));
    expect(toRun(due, now, { misfire: 'skip', misfireGraceSeconds: 60 })).toEqual(due.slice(-1));
    expect(toRun(due, now, { misfire: 'skip', misfireGraceSeconds: 10 })).toEqual([]);
    expect(toRun(due, now, { misfire: 'runAll', misfireGraceSeconds: 60 })).toEqual(due);
    expect(toRun(due, now, { misfire: 'runOnce', misfireGraceSeconds: 7_200 })).toEqual(due);
  });
});

test('what was missed is found by few looks, however the occurrences lie', async () => {
  // Each second of the working hours: the first gap is a night.
  const next = await readRecurrence(recurrence('* * 9-17 * * *'));
  let looks = 0;
  const counted = (after: Date): Date | undefined => {
    looks++;
    return next(after);
  };
  const missed = missedOccurrences(counted, at('2026-01-01T17:59:59Z'), at('2026-04-01T12:00:00Z'));
  expect(missed).toHaveLength(100);
  expect(missed[0]).toEqual(at('2026-04-01T11:58:21Z'));
  expect(missed.at(-1)).toEqual(at('2026-04-01T12:00:00Z'));
  expect(looks).toBeLessThan(1_000);
});
