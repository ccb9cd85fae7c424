import type { RedisClient } from './redis.ts'

/** Interval of readings of Redis' clock, ms. */
const MEASURE_MS = 2000

/**
 * Redis' clock as this process sees it. Scripts make all decisions about time with Redis' own clock. This one is for hints (when to look
 * again, what may be due) and for times that are shown. The process's own clock has no influence, even if it is wrong or someone changes
 * it: between two readings time is measured with the monotonic clock.
 */
export type RedisClock = {
  /** Unix ms, an integer. At most half a round trip off. Until the first reading it is the time of the process. */
  now(): number
  /** Reads Redis' clock; false if Redis does not answer. */
  measure(): Promise<boolean>
  /** Resolves when Redis' clock is known. */
  known(): Promise<void>
  close(): void
}

export function createRedisClock({ redis }: { redis: RedisClient }): RedisClock {
  /** Redis' time minus the monotonic time, ms, and its maximum error. */
  let offset: number | null = null
  let error = Number.POSITIVE_INFINITY
  let measuring: Promise<boolean> | null = null
  const first = Promise.withResolvers<void>()

  async function read(): Promise<boolean> {
    try {
      const sentAt = performance.now()
      const [seconds, micros] = await redis.time()
      const halfTrip = (performance.now() - sentAt) / 2
      const found = Number(seconds) * 1000 + Number(micros) / 1000 - sentAt - halfTrip
      // A slow answer is less exact than an earlier quick one, unless it contradicts that one: then a clock was changed.
      const contradicts = offset === null || Math.abs(found - offset) > halfTrip + error
      if (contradicts || halfTrip <= error) {
        offset = found
        error = halfTrip
      }
      first.resolve()
      return true
    } catch {
      return false // unavailable; the next reading decides
    }
  }

  function measure(): Promise<boolean> {
    measuring ??= read().finally(() => {
      measuring = null
    })
    return measuring
  }

  const timer = setInterval(measure, MEASURE_MS)
  timer.unref()
  void measure()
  // It may be another server now, or the same one on another machine.
  redis.on('ready', measure)

  return {
    now: () => (offset === null ? Date.now() : Math.floor(performance.now() + offset)),
    measure,
    known: () => first.promise,
    close() {
      clearInterval(timer)
      redis.off('ready', measure)
    },
  }
}
