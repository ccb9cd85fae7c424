import { Cron } from 'croner'
import { localTimeOf } from './local-time.ts'

const SECOND = 1000
/** Longer than any clock goes back, ms. */
const LONGEST_REPEAT = 25 * 3_600_000

/** An invalid cron expression. The message is the reason, without the name of the member. */
export class CronError extends Error {
  override readonly name = 'CronError'
}

/** The times of a cron expression, Unix ms. */
export type CronTimes = {
  /** The first one after this instant; null: there is none. */
  next(after: number): number | null
  /** The latest times after `after` up to `until`, newest first; at most `most`. */
  latest(after: number, until: number, most: number): number[]
}

const ALIASES = ['@yearly', '@annually', '@monthly', '@weekly', '@daily', '@midnight', '@hourly']

/**
 * Parses five fields (minute, hour, day of the month, month, weekday), six (seconds first), or a name such as `@daily`.
 * Throws CronError.
 *
 * The library only calculates local times in a calendar without time zones. This code converts them to instants, because libraries
 * differ from zone to zone when clocks change (docs/decisions has the table).
 */
export function parseCron(text: string, timeZone: string): CronTimes {
  const calendar = readPattern(text)
  const zone = localTimeOf(timeZone)
  if (nextLocal(0) === null) throw new CronError('names a date that never comes')

  /** The first local time of the pattern at or after `from`. */
  function nextLocal(from: number): number | null {
    const found = calendar.nextRun(new Date(Math.ceil(from / SECOND) * SECOND - SECOND))
    return found === null ? null : found.getTime()
  }

  /** The first local time whose instant is after this one. Instants of later local times are never earlier. */
  function firstLocalAfter(instant: number): number {
    const shown = zone.toLocal(instant)
    if (zone.toInstant(shown) === instant) return shown + 1
    // This local time is repeated: a binary search finds where the repetition ends.
    let low = shown
    let high = shown + LONGEST_REPEAT
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2)
      if (zone.toInstant(middle) > instant) high = middle
      else low = middle
    }
    return high
  }

  return {
    next(after) {
      const local = nextLocal(firstLocalAfter(after))
      return local === null ? null : zone.toInstant(local)
    },

    latest(after, until, most) {
      const found: number[] = []
      let local = Math.ceil(firstLocalAfter(until) / SECOND) * SECOND
      while (found.length < most) {
        const [earlier] = calendar.previousRuns(1, new Date(local))
        if (earlier === undefined) break
        local = earlier.getTime()
        const instant = zone.toInstant(local)
        if (instant <= after) break
        if (instant !== found.at(-1)) found.push(instant)
        // All local times in a gap occur at its end, once.
        if (zone.toLocal(instant) !== local) local = zone.toLocal(instant - 1) + 1
      }
      return found
    },
  }
}

function readPattern(text: string): Cron {
  const pattern = text.trim().toLowerCase()
  const fields = pattern.split(/\s+/)
  if (pattern.startsWith('@')) {
    if (!ALIASES.includes(pattern))
      throw new CronError(`expected five or six fields, or ${ALIASES.join(', ')}`)
  } else if (fields.length !== 5 && fields.length !== 6) {
    throw new CronError(`expected five or six fields, got ${pattern === '' ? 0 : fields.length}`)
  }
  try {
    return new Cron(fields.join(' ').toUpperCase(), {
      mode: '5-or-6-parts',
      timezone: 'UTC',
      sloppyRanges: true,
    })
  } catch (error) {
    throw new CronError(error instanceof Error ? readReason(error.message) : String(error))
  }
}

/** The library's message. It counts days and months from 0; people count from 1. */
function readReason(message: string): string {
  return message
    .replace(/^CronPattern: /, '')
    .replace(
      /^(Invalid value for (?:day|month): )(-?\d+)/,
      (_, words, number) => `${words}${Number(number) + 1}`,
    )
}
