import type { RedisClient } from '../lib/redis.ts'

/** A reported failure counts for this long, ms. The copying worker repeats its report more often, every REPEAT_MS. */
const VALID_MS = 60_000
const REPEAT_MS = 10_000

/** The longest text of an error, in characters. */
const ERROR_CHARACTERS = 300

/** `since`: when copying began to fail, Unix ms. `error`: the database's message. */
export type CopyFailure = { since: number; error: string }

/**
 * Tells all processes, through Redis, whether the copying worker can write to the database. They cannot see that by themselves,
 * because a database with a full disk still answers their reads. The report expires, because that worker may die.
 */
export type CopyState = {
  /** Reports that copying failed. Writes to Redis at most once in REPEAT_MS. */
  fails(error: unknown): Promise<void>
  /** Reports that copying works. Costs nothing if that was the last report. */
  works(): Promise<void>
  /** Reads the failure that was reported; null: copying works, as far as is known. */
  read(): Promise<CopyFailure | null>
}

/** @param deps.elapsed ms, for spans */
export function createCopyState(deps: {
  redis: RedisClient
  prefix: string
  now: () => number
  elapsed: () => number
}): CopyState {
  const { redis, now, elapsed } = deps
  const key = `${deps.prefix}:history-failure`
  let reportedAt = Number.NEGATIVE_INFINITY
  // An earlier worker may have reported a failure, so the first `works` clears it.
  let isClear = false
  return {
    async fails(error) {
      isClear = false
      if (elapsed() - reportedAt < REPEAT_MS) return
      reportedAt = elapsed()
      await redis
        .multi()
        .hsetnx(key, 'since', now())
        .hset(key, 'error', describe(error))
        .pexpire(key, VALID_MS)
        .exec()
    },
    async works() {
      if (isClear) return
      await redis.del(key)
      isClear = true
      reportedAt = Number.NEGATIVE_INFINITY
    },
    async read() {
      const [since, error] = await redis.hmget(key, 'since', 'error')
      return since == null ? null : { since: Number(since), error: error ?? '' }
    },
  }
}

/** The database's message: that of the cause, if the error wraps another one. Handles thrown values that are no Errors. */
function describe(error: unknown): string {
  const innermost = error instanceof Error ? (error.cause ?? error) : error
  return (innermost instanceof Error ? innermost.message : String(innermost)).slice(0, ERROR_CHARACTERS)
}
