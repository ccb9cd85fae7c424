import type { RedisClient } from '../lib/redis.ts'

/** A reported failure counts for this long, ms. The copying worker repeats its report more often, every TELL_AGAIN_MS. */
const BELIEVED_MS = 60_000
const TELL_AGAIN_MS = 10_000

/** The longest text of an error, in characters. */
const ERROR_CHARACTERS = 300

/** `since`: when copying began to fail, Unix ms. `error`: the database's message. */
export type CopyFailure = { since: number; error: string }

/**
 * Tells all processes, through Redis, whether the copying worker can write to the database. They cannot see that by themselves,
 * because a database with a full disk still answers their reads. The report expires, because that worker may die.
 */
export type CopyState = {
  /** Reports that copying failed. Writes to Redis at most once in TELL_AGAIN_MS. */
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
  let toldAt = Number.NEGATIVE_INFINITY
  // An earlier worker may have reported a failure, so the first `works` clears it.
  let isClear = false
  return {
    async fails(error) {
      isClear = false
      if (elapsed() - toldAt < TELL_AGAIN_MS) return
      toldAt = elapsed()
      await redis
        .multi()
        .hsetnx(key, 'since', now())
        .hset(key, 'error', describe(error))
        .pexpire(key, BELIEVED_MS)
        .exec()
    },
    async works() {
      if (isClear) return
      await redis.del(key)
      isClear = true
      toldAt = Number.NEGATIVE_INFINITY
    },
    async read() {
      const [since, error] = await redis.hmget(key, 'since', 'error')
      return since == null ? null : { since: Number(since), error: error ?? '' }
    },
  }
}

/** The database's message: that of the cause, if the error wraps another one. Handles thrown values that are no Errors. */
function describe(error: unknown): string {
  const told = error instanceof Error ? (error.cause ?? error) : error
  return (told instanceof Error ? told.message : String(told)).slice(0, ERROR_CHARACTERS)
}
