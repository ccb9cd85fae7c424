import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CronError, parseCron } from '../../../lib/cron.ts'
import { localTimeOf } from '../../../lib/local-time.ts'
import { listTimes } from '../../model/schedules/cron-model.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

/** What clocks of a zone show, read from Node in another way than in the product. */
function createClock(timeZone: string): (instant: number) => number {
  const format = new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'medium' })
  const known = new Map<number, number>()
  return (instant) => {
    const local = known.get(instant) ?? Date.parse(`${format.format(instant).replace(' ', 'T')}Z`)
    known.set(instant, local)
    return local
  }
}

/** Times around which clocks change: those announced for 2027, and some unusual ones of the past. */
const SWITCHES: [zone: string, at: string][] = [
  ['Europe/Berlin', '2027-03-28T01:00:00Z'],
  ['Europe/Berlin', '2027-10-31T01:00:00Z'],
  ['America/New_York', '2027-03-14T07:00:00Z'],
  ['America/New_York', '2027-11-07T06:00:00Z'],
  ['Australia/Lord_Howe', '2027-04-03T15:00:00Z'],
  ['Australia/Lord_Howe', '2027-10-02T15:30:00Z'],
  ['America/Sao_Paulo', '2018-11-04T03:00:00Z'],
  ['Pacific/Apia', '2011-12-30T10:00:00Z'],
  ['Africa/Casablanca', '2027-02-07T02:00:00Z'],
]

/** All that `parseCron` finds in a span, forwards and backwards. */
function findTimes(text: string, zone: string, from: number, to: number): [number[], number[]] {
  const cron = parseCron(text, zone)
  const forwards: number[] = []
  for (let at = cron.next(from); at !== null && at <= to; at = cron.next(at)) forwards.push(at)
  return [forwards, cron.latest(from, to, 100_000).reverse()]
}

const number = (low: number, high: number) => fc.integer({ min: low, max: high })
const field = (low: number, high: number) =>
  fc.oneof(
    { weight: 3, arbitrary: fc.constant('*') },
    { weight: 2, arbitrary: number(low, high).map(String) },
    number(1, high - low).map((step) => `*/${step}`),
    fc.tuple(number(low, high), number(low, high)).map(([a, b]) => `${Math.min(a, b)}-${Math.max(a, b)}`),
    fc.uniqueArray(number(low, high), { minLength: 2, maxLength: 4 }).map((values) => values.join(',')),
  )
const minuteCron = fc
  .tuple(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7))
  .map((fields) => fields.join(' '))

describe('the times of an expression', () => {
  it.each(SWITCHES)('in %s around %s are those that a look at every minute finds', (zone, at) => {
    const show = createClock(zone)
    const middle = Date.parse(at)
    // Fields for hours of the night are frequent, because the clocks change then.
    const nightly = fc.tuple(field(0, 59), field(0, 3)).map(([minute, hour]) => `${minute} ${hour} * * *`)
    fc.assert(
      fc.property(fc.oneof(nightly, minuteCron), number(-2 * 3600, 2 * 3600), (text, offset) => {
        const from = middle - 4 * HOUR + offset * 1000
        const to = from + 8 * HOUR
        // The steps of the model are whole minutes; it still looks behind `from`.
        const start = Math.floor(from / MINUTE) * MINUTE
        const expected = listTimes(text, show, { from: start, to, step: MINUTE }).filter((one) => one > from)
        let found: [number[], number[]]
        try {
          found = findTimes(text, zone, from, to)
        } catch (error) {
          // 30 February: neither finds any.
          if (!(error instanceof CronError)) throw error
          found = [[], []]
        }
        expect(found).toEqual([expected, expected])
      }),
      { numRuns: 25 },
    )
  })

  it.each([
    ['Europe/Berlin', '2027-03-28T01:00:00Z'],
    ['Australia/Lord_Howe', '2027-04-03T15:00:00Z'],
  ])('with seconds in %s around %s are those that a look at every second finds', (zone, at) => {
    const show = createClock(zone)
    for (const text of ['*/20 * * * * *', '30 59 1 * * *', '15 */30 1-2 * * *']) {
      const from = Date.parse(at) - 90 * MINUTE
      const to = from + 4 * HOUR
      const local = localTimeOf(zone)
      const expected = listTimes(text, (instant) => local.toLocal(instant), { from, to, step: 1000 })
      expect(findTimes(text, zone, from, to)).toEqual([expected, expected])
      expect(show(from)).toBe(local.toLocal(from))
    }
  })

  it('that all fall into a gap come once, and none comes for the second time, at no cost', () => {
    const before = process.cpuUsage()
    const cron = parseCron('* * * * * *', 'Europe/Berlin')
    const gapEnd = Date.parse('2027-03-28T01:00:00Z')
    expect(cron.next(gapEnd - 1000)).toBe(gapEnd)
    expect(cron.next(gapEnd)).toBe(gapEnd + 1000)
    expect(cron.latest(gapEnd - 2000, gapEnd + 1000, 10)).toEqual([gapEnd + 1000, gapEnd, gapEnd - 1000])
    // From 02:59:59 of summer to 03:00:00 of winter.
    const second = Date.parse('2027-10-31T01:00:00Z')
    expect(cron.next(second - 1000)).toBe(second + HOUR)
    expect(cron.next(second + 1800_000)).toBe(second + HOUR)
    expect(cron.latest(0, second + 1800_000, 1)).toEqual([second - 1000])
    expect(process.cpuUsage(before).user / 1000).toBeLessThan(1000)
  })

  it('with names, upper and lower case, and blanks are the same', () => {
    const from = Date.parse('2027-01-01T00:00:00Z')
    const next = (text: string) => parseCron(text, 'UTC').next(from)
    expect(next('0 3 * jan MON')).toBe(next('0 3 * 1 1'))
    expect(next(' 0  3\t* 1 1 ')).toBe(next('0 3 * 1 1'))
    expect(next('@Daily')).toBe(next('0 0 * * *'))
    expect(next('0 0 * * 7')).toBe(next('0 0 * * 0'))
    expect(next('0 0 L * *')).toBe(Date.parse('2027-01-31T00:00:00Z'))
  })

  it.each([
    '',
    '* * * *',
    '* * * * * * *',
    '60 * * * *',
    '* 24 * * *',
    '* * 0 * *',
    '* * * 13 *',
    '* * * * 8',
    '*/0 * * * *',
    '5-1 * * * *',
    'a * * * *',
    'H * * * *',
    '@reboot',
    '@every',
    '0 0 30 2 *',
    '0 0 31 4 *',
    '2026-12-01T00:00:00Z',
    '1,,2 * * * *',
    '-1 * * * *',
  ])('are not read out of %j', (text) => {
    expect(() => parseCron(text, 'UTC')).toThrow(CronError)
  })
})
