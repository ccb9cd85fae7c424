import type { RedisClient } from '../lib/redis.ts'

/** How many broken calls a lane remembers, and for how long, ms. */
const KEPT = 10
const KEPT_MS = 7 * 86_400_000

/** How much of the provider's message is kept, characters. */
const LONGEST_MESSAGE = 300

/** A call that broke, as operators see it. */
export type BrokenCall = {
  /** RFC 3339. */
  at: string
  /** Null: the provider did not answer. */
  status: number | null
  code: string
  /** The provider's message, shortened; null if stored data is encrypted. */
  message: string | null
  /** The jobs of the call, at most ten. */
  jobs: { tenant: string; id: string }[]
}

/** The last broken calls of each lane, over all processes. */
export type BrokenCalls = {
  record(lane: string, call: BrokenCall): Promise<void>
  /** The latest first. */
  read(lane: string): Promise<BrokenCall[]>
}

export function createBrokenCalls({ redis, prefix }: { redis: RedisClient; prefix: string }): BrokenCalls {
  const key = (lane: string) => `${prefix}:{l:${lane}}:broken`
  return {
    async record(lane, { message, jobs, ...call }) {
      const text = JSON.stringify({
        ...call,
        message: message?.slice(0, LONGEST_MESSAGE) ?? null,
        jobs: jobs.slice(0, KEPT),
      })
      await Promise.all([
        redis.lpush(key(lane), text),
        redis.ltrim(key(lane), 0, KEPT - 1),
        redis.pexpire(key(lane), KEPT_MS),
      ])
    },
    async read(lane) {
      return (await redis.lrange(key(lane), 0, -1)).map((text) => JSON.parse(text) as BrokenCall)
    },
  }
}
