const DAY = 86_400_000

/** No zone changes its offset twice within this time, ms. */
const BLOCK = 6 * 3_600_000

/** Offsets of blocks that a zone remembers: three years. */
const MOST_BLOCKS = 4096

/**
 * A time zone's way between instants (Unix ms) and local times. A local time is written as the Unix ms at which a clock in UTC
 * shows the same date and time of day, so that calendars without time zones can count with it.
 */
export type LocalTime = {
  /** What clocks of the zone show at this instant. */
  toLocal(instant: number): number
  /**
   * When clocks of the zone show this. A time that comes twice, because clocks go back, means the first. A time that does
   * not exist, because they go forward, means the end of the gap. Never goes back for a later local time.
   */
  toInstant(local: number): number
}

/** Whether this is a name of the IANA time zone database, or an offset such as `+01:00`. */
export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en-US', { timeZone: name })
    return true
  } catch {
    return false
  }
}

const zones = new Map<string, LocalTime>()

/** @param zone a name that `isTimeZone` knows */
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

  /** By block: the offset all through it, or null where it changes. */
  const blocks = new Map<number, number | null>()

  /** The offset of its clocks from UTC, ms; positive if they are fast. */
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

  /** The first instant behind `from` whose offset is another; it has one at `to`. */
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
