const DAY = 86_400_000

/** No zone changes its offset twice within this time, ms. */
const BLOCK = 6 * 3_600_000

/** Offsets of blocks that are remembered per zone: three years. */
const MOST_BLOCKS = 4096

/**
 * Converts between instants (Unix ms) and local times of a time zone. A local time is written as the Unix ms at which a clock in UTC shows
 * the same date and time of day, so that calendars without time zones can calculate with it.
 */
export type LocalTime = {
  /** The local time at this instant. */
  toLocal(instant: number): number
  /**
   * The instant of a local time. A time that occurs twice, because clocks go back, means the first occurrence. A time that does not exist,
   * because clocks go forward, means the end of the gap. The result never decreases for a later local time.
   */
  toInstant(local: number): number
}

/** Whether this is a name in the IANA time zone database, or an offset such as `+01:00`. */
export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en-US', { timeZone: name })
    return true
  } catch {
    return false
  }
}

const zones = new Map<string, LocalTime>()

/** @param zone a name that `isTimeZone` accepts */
export function localTimeOf(zone: string): LocalTime {
  const known = zones.get(zone)
  if (known !== undefined) return known
  const made = createLocalTime(zone)
  zones.set(zone, made)
  return made
}

function createLocalTime(zone: string): LocalTime {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    calendar: 'gregory',
    numberingSystem: 'latn',
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  })

  /** By block: the offset, or null if it changes within the block. */
  const blocks = new Map<number, number | null>()

  /** The offset from UTC, ms; positive east of Greenwich. */
  function offsetAt(instant: number): number {
    const block = Math.floor(instant / BLOCK)
    let offset = blocks.get(block)
    if (offset === undefined) {
      const first = computeOffset(block * BLOCK)
      offset = first === computeOffset((block + 1) * BLOCK) ? first : null
      if (blocks.size === MOST_BLOCKS) blocks.clear()
      blocks.set(block, offset)
    }
    return offset ?? computeOffset(instant)
  }

  function computeOffset(instant: number): number {
    const second = Math.floor(instant / 1000) * 1000
    const parts: Record<string, number> = {}
    for (const { type, value } of format.formatToParts(second)) parts[type] = Number(value)
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second: seconds = 0 } = parts
    return Date.UTC(year, month - 1, day, hour, minute, seconds) - second
  }

  /** The first instant after `from` with another offset; there is one at `to`. */
  function findChange(from: number, to: number): number {
    const before = offsetAt(from)
    let low = from
    let high = to
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2)
      if (offsetAt(middle) === before) low = middle
      else high = middle
    }
    return high
  }

  return {
    toLocal: (instant) => instant + offsetAt(instant),
    toInstant(local) {
      const offsets = [offsetAt(local - DAY), offsetAt(local), offsetAt(local + DAY)]
      const largest = Math.max(...offsets)
      const smallest = Math.min(...offsets)
      // The larger the offset, the earlier the instant.
      if (offsetAt(local - largest) === largest) return local - largest
      if (offsetAt(local - smallest) === smallest) return local - smallest
      return findChange(local - largest, local - smallest)
    },
  }
}
