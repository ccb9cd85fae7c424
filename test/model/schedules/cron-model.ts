/**
 * What cron expressions mean, by looking at every second: slow, and simple enough to be trusted. It does not use the
 * library, and of time zones it knows only what clocks show.
 */

type Field = { values: Set<number>; isAny: boolean }

const NAMES: Record<string, number> = {
  ...Object.fromEntries(
    'JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC'.split(' ').map((name, at) => [name, at + 1]),
  ),
  ...Object.fromEntries('SUN MON TUE WED THU FRI SAT'.split(' ').map((name, at) => [name, at])),
}

function readField(text: string, low: number, high: number): Field {
  const values = new Set<number>()
  for (const part of text.split(',')) {
    const [range = '', step = '1'] = part.split('/')
    const [from, to] = range === '*' ? [low, high] : range.split('-').map((one) => NAMES[one] ?? Number(one))
    for (let value = from!; value <= (to ?? (part.includes('/') ? high : from!)); value += Number(step))
      values.add(value)
  }
  return { values, isAny: text === '*' }
}

/** Whether a clock that shows this (Unix ms of the same time in UTC) shows a time of the expression. */
function createMatcher(text: string): (local: number) => boolean {
  const parts = text.split(' ')
  const [second, minute, hour, day, month, weekday] = (parts.length === 5 ? ['0', ...parts] : parts).map(
    (part, at) => readField(part, [0, 0, 0, 1, 1, 0][at]!, [59, 59, 23, 31, 12, 7][at]!),
  )
  if (weekday!.values.has(7)) weekday!.values.add(0)
  return (local) => {
    const date = new Date(local)
    const inMonth = day!.values.has(date.getUTCDate())
    const inWeek = weekday!.values.has(date.getUTCDay())
    return (
      second!.values.has(date.getUTCSeconds()) &&
      minute!.values.has(date.getUTCMinutes()) &&
      hour!.values.has(date.getUTCHours()) &&
      month!.values.has(date.getUTCMonth() + 1) &&
      // If both are given, either is enough.
      (day!.isAny || weekday!.isAny ? inMonth && inWeek : inMonth || inWeek)
    )
  }
}

/**
 * All times of an expression after `from` and up to `to`, looked for in steps.
 *
 * @param show what clocks of the zone show at an instant, as Unix ms of the same time in UTC
 * @param step ms; a minute for expressions of five fields
 */
export function listTimes(
  text: string,
  show: (instant: number) => number,
  { from, to, step }: { from: number; to: number; step: number },
): number[] {
  const matches = createMatcher(text)
  const found: number[] = []
  // The latest time that clocks showed: an earlier or equal time was shown before. It looks some hours ahead of
  // `from`, so that it is known there.
  let latest = Number.NEGATIVE_INFINITY
  for (let instant = from - 3 * 3_600_000; instant <= to; instant += step) {
    const local = show(instant)
    let isSlot = false
    if (local > latest) {
      isSlot = matches(local)
      // Clocks jumped: the times that they skipped come now.
      if (latest !== Number.NEGATIVE_INFINITY)
        for (let skipped = latest + step; skipped < local; skipped += step) isSlot ||= matches(skipped)
      latest = local
    }
    if (isSlot && instant > from) found.push(instant)
  }
  return found
}
