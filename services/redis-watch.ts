import { describeError } from '../lib/describe-error.ts'
import { isRedisUnavailable, type RedisClient } from '../lib/redis.ts'
import { describeRedisFault, isConsequence, type RedisFault } from '../lib/redis-fault.ts'
import { repeat } from '../lib/repeat.ts'
import type { RedisFaultLog } from './redis-fault-log.ts'

/** Between two looks: at a Redis that is well, and at one that is not, ms. */
const LOOK_MS = 60_000
const LOOK_AGAIN_MS = 1000

/** The key that is written to see whether Redis takes writes goes by itself after this, ms. */
const PROBE_MS = 60_000

/** Faults in which reads and accepted work go on: they are logged, and this process still serves. */
const SERVES = new Set(['full', 'busy'])

export type RedisReadiness = { ok: true } | { ok: false; reason: string }

/** The state of this process' Redis. */
export type RedisWatch = {
  /**
   * Takes an error that comes from Redis' state, and logs the fault once. False: the error is something else, and the
   * caller logs it.
   */
  take(error: unknown): boolean
  /** Whether Redis answers, takes writes and keeps what it is given. Answers within 3 s. */
  look(): Promise<RedisReadiness>
  /** Whether Redis answers a read within 3 s. */
  isThere(): Promise<boolean>
  close(): Promise<void>
}

/**
 * Looks at Redis at once, every minute, and every second while something is wrong. A process waits for a Redis that is
 * unavailable, loading, read-only, evicting or refuses its password, and goes on by itself when that is fixed.
 */
export function startRedisWatch(deps: {
  redis: RedisClient
  prefix: string
  /** Throws UnfitRedisError if Redis may evict stored data. */
  checkMemory: () => Promise<unknown>
  faults: RedisFaultLog
  /** Called when Redis is well again. */
  onBack: () => void
  now: () => number
}): RedisWatch {
  const { redis, faults, now } = deps
  const probe = `${deps.prefix}:probe`
  let lookAt = Number.NEGATIVE_INFINITY
  let looking: Promise<RedisReadiness> | null = null

  async function read(): Promise<RedisReadiness> {
    try {
      // A write: a replica answers reads, and a node of a cluster answers PING also when the cluster is down.
      await redis.set(probe, '1', 'PX', PROBE_MS)
      await deps.checkMemory()
      lookAt = now() + LOOK_MS
      if (faults.end()) deps.onBack()
      return { ok: true }
    } catch (error) {
      lookAt = now()
      const fault = faults.say(describeRedisFault(error) ?? toUnknown(error))
      // Callers need no key, so this says what is wrong, and not where.
      return SERVES.has(fault.kind) ? { ok: true } : { ok: false, reason: `redis: ${fault.text}` }
    }
  }

  function look(): Promise<RedisReadiness> {
    looking ??= read().finally(() => {
      looking = null
    })
    return looking
  }

  const looks = repeat(
    LOOK_AGAIN_MS,
    async () => {
      if (now() >= lookAt) await look()
    },
    () => {},
  )

  return {
    look,
    take(error) {
      if (!(error instanceof Error) || !isRedisUnavailable(error)) return false
      // Files fail with codes that sockets have as well.
      if ('path' in error && !('address' in error)) return false
      const fault = describeRedisFault(error)
      // A command that failed because its connection was lost says little; the next look knows more.
      if (fault !== null && !isConsequence(fault)) faults.say(fault)
      lookAt = Number.NEGATIVE_INFINITY
      return true
    },
    async isThere() {
      try {
        await redis.exists(probe)
        return true
      } catch (error) {
        return !isRedisUnavailable(error)
      }
    },
    close: () => looks.stop(),
  }
}

/** A failed attempt to connect names its cause; the commands that waited for it do not. */
function toUnknown(error: unknown): RedisFault {
  if (isRedisUnavailable(error)) return { kind: 'lost', text: 'it cannot be reached' }
  return { kind: 'other', text: `it fails: ${describeError(error).message}` }
}
