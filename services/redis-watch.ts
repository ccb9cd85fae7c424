import { describeError } from '../lib/describe-error.ts'
import { isRedisUnavailable, type RedisClient } from '../lib/redis.ts'
import { describeRedisFault, isConsequence, type RedisFault } from '../lib/redis-fault.ts'
import { repeat } from '../lib/repeat.ts'
import type { RedisFaultLog } from './redis-fault-log.ts'

/** Interval of checks while Redis works, and while it does not, ms. */
const LOOK_MS = 60_000
const LOOK_AGAIN_MS = 1000

/** The key that is written to test whether Redis accepts writes expires after this, ms. */
const PROBE_MS = 60_000

/** Faults during which reads and accepted work continue: they are logged, and this process still serves. */
const SERVES = new Set(['full', 'busy'])

export type RedisReadiness = { ok: true } | { ok: false; reason: string }

/** The state of this process's Redis. */
export type RedisWatch = {
  /** Takes an error that comes from the state of Redis, and logs the fault once. False: it is another error, which the caller logs. */
  take(error: unknown): boolean
  /** Whether Redis answers, accepts writes and keeps data. Answers within 3 s. */
  look(): Promise<RedisReadiness>
  /** Whether Redis answers a read within 3 s. */
  isThere(): Promise<boolean>
  close(): Promise<void>
}

/**
 * Checks Redis at once, then every minute, and every second during a fault. A process waits while Redis is unavailable, loading, read-only
 * or evicting, or refuses the password, and continues by itself afterwards.
 */
export function startRedisWatch(deps: {
  redis: RedisClient
  prefix: string
  /** Throws UnfitRedisError if Redis may evict stored data. */
  checkMemory: () => Promise<unknown>
  faults: RedisFaultLog
  /** Called when Redis works again. */
  onBack: () => void
  now: () => number
}): RedisWatch {
  const { redis, faults, now } = deps
  const probe = `${deps.prefix}:probe`
  let lookAt = Number.NEGATIVE_INFINITY
  let looking: Promise<RedisReadiness> | null = null

  async function read(): Promise<RedisReadiness> {
    try {
      // A write: a replica answers reads, and a node of a cluster answers PING even when the cluster is down.
      await redis.set(probe, '1', 'PX', PROBE_MS)
      await deps.checkMemory()
      lookAt = now() + LOOK_MS
      if (faults.end()) deps.onBack()
      return { ok: true }
    } catch (error) {
      lookAt = now()
      const fault = faults.say(describeRedisFault(error) ?? toUnknown(error))
      // Callers need no key, so this names the fault but not the address.
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
      // File errors have the same codes as socket errors.
      if ('path' in error && !('address' in error)) return false
      const fault = describeRedisFault(error)
      // A command that failed because its connection was lost says little; the next check knows more.
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

/** A failed attempt to connect has a cause; the commands that waited for it do not. */
function toUnknown(error: unknown): RedisFault {
  if (isRedisUnavailable(error)) return { kind: 'lost', text: 'it cannot be reached' }
  return { kind: 'other', text: `it fails: ${describeError(error).message}` }
}
