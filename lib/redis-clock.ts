import type { RedisClient } from './redis.ts'

/** Between two readings of Redis' clock, ms. */
const MEASURE_MS = 2000

/**
 * Redis' clock as this process sees it. Scripts make all decisions about time, by Redis' own clock. This one is for hints
 * (when to look again, what may be due) and for times that are shown. The process' own clock plays no part, even if it is
 * wrong or someone sets it: between two readings time goes on by the monotonic clock.
 */
export type RedisClock = {
  /**
   * Unix ms, whole. Off by half of a round trip at the most. Until Redis was read for the first time, the time of the
   * process.
   */
  now(): number
  /** Reads Redis' clock; false where Redis does not answer. */
  measure(): Promise<boolean>
  /** Resolves when Redis' clock is known. */
  known(): Promise<void>
  close(): void
}

export function createRedisClock({ redis }: { redis: RedisClient }): RedisClock {
  /** Redis' time less the monotonic one, ms, and how far that may be off. */
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
      // A slow answer says less than an earlier quick one, unless it contradicts it: then a clock was set.
      const contradicts = offset === null || Math.abs(found - offset) > halfTrip + error
      if (contradicts || halfTrip <= error) {
        offset = found
        error = halfTrip
      }
      first.resolve()
      return true
    } catch {
      return false // away; the next reading tells
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
  // It may be another server by now, or the same on another machine.
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
