import type { RedisClient } from '../lib/redis.ts'

/** What the worker that copies told last is believed for this long, ms; it tells it anew more often while it lasts. */
const BELIEVED_MS = 60_000
const TELL_AGAIN_MS = 10_000

/** Longest text of an error. */
const ERROR_CHARACTERS = 300

/** Since when finished jobs cannot be copied, Unix ms, and what the database said. */
export type CopyFailure = { since: number; error: string }

/**
 * Whether the worker that copies finished jobs can do so, told to all processes by Redis: a database whose disk is full answers
 * their questions as before. Redis forgets it by itself, for that worker may have died.
 */
export type CopyState = {
  /** It cannot. Tells Redis at most every some seconds. */
  fails(error: unknown): Promise<void>
  /** It can. Costs nothing where it was said before. */
  works(): Promise<void>
  /** Null: it can, as far as is known. */
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
  // The worker before this one may have told that it could not.
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

/** What the database said, without what wraps it. */
function describe(error: unknown): string {
  const { cause } = error as Error
  return ((cause ?? error) as Error).message.slice(0, ERROR_CHARACTERS)
}
