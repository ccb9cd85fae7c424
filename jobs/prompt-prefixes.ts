import { hash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { RedisClient } from '../lib/redis.ts'
import type { AtRest } from './at-rest.ts'

/**
 * The name of a prefix (`hashPrefix`) in keys and entries of Redis. If encryption is configured, it is keyed. So a
 * reader of Redis cannot test whether a guessed prompt is in use.
 */
export function digestPrefix(prefix: string, atRest: Pick<AtRest, 'digests'>): string {
  const [digest] = atRest.digests(hash('sha256', `prefix\n${prefix}`))
  return hash('sha256', digest, 'base64url').slice(0, 16)
}

/** Longest time that a call waits for the first token of another call with its prefix, ms. */
const WAIT_MS = 2000
/** Providers drop a prefix that was not used for five to ten minutes. */
const KEPT_MS = 5 * 60_000
/** While a prefix is used, other processes hear of that at most this often, ms. */
const ANNOUNCE_MS = 60_000
/** Time between two looks at a prefix that another process warms, ms. */
const LOOK_MS = 50
/** How many prefixes a process remembers. */
const MOST_KNOWN = 5000

/** What a call reports about its prefix after it may start. A second call of `answered` or `failed` changes nothing. */
export type PrefixTurn = {
  /** The answer has begun, so the provider has the prefix. */
  answered(): void
  /** There will be no answer, so another call goes first. */
  failed(): void
  /** How many input tokens the call read from the provider's cache. */
  learn(cachedTokens: number): void
}

/** Lets one of the calls with the same long prefix go first, over all processes. */
export type PromptPrefixes = {
  /**
   * Resolves when the call may start: at once if the prefix is warm, or if no other call warms it. Otherwise at the
   * first token of the call that does, after 2 s, or when `signal` aborts. Never rejects: without Redis every call
   * starts at once.
   */
  enter(lane: string, prefix: string, signal: AbortSignal): Promise<PrefixTurn>
  /**
   * How many input tokens a call with the prefix would read from the cache now, by the last such call; 0: not known.
   */
  cachedTokens(lane: string, prefix: string): number
}

type Known = { warmUntil: number; announcedAt: number; first: Promise<void> | null; cachedTokens: number }

export function createPromptPrefixes(deps: {
  redis: RedisClient
  /** The prefix of all keys. */
  prefix: string
  onError: (error: unknown, what: string) => void
}): PromptPrefixes {
  const { redis, onError } = deps
  const known = new Map<string, Known>()
  const now = () => performance.now()

  function recall(name: string): Known {
    const found = known.get(name) ?? {
      warmUntil: 0,
      announcedAt: Number.NEGATIVE_INFINITY,
      first: null,
      cachedTokens: 0,
    }
    known.delete(name)
    known.set(name, found)
    if (known.size > MOST_KNOWN) known.delete(known.keys().next().value!)
    return found
  }

  function keepWarm(key: string, one: Known): void {
    one.warmUntil = now() + KEPT_MS
    if (now() - one.announcedAt < ANNOUNCE_MS) return
    one.announcedAt = now()
    redis
      .set(key, 'warm', 'PX', KEPT_MS)
      .catch((error: unknown) => onError(error, 'noting a warm prompt prefix'))
  }

  /** True: this process goes first. False: the prefix is warm. Waits while another process warms it. */
  async function ask(key: string, one: Known, until: number, signal: AbortSignal): Promise<boolean> {
    while (now() < until && !signal.aborted) {
      if ((await redis.set(key, 'warming', 'PX', WAIT_MS, 'NX')) === 'OK') return true
      const [state, leftMs] = await Promise.all([redis.get(key), redis.pttl(key)])
      if (state === 'warm') {
        one.warmUntil = now() + Math.max(0, leftMs)
        return false
      }
      await sleep(LOOK_MS)
    }
    return false
  }

  function learnFor(one: Known): PrefixTurn['learn'] {
    return (cachedTokens) => {
      // The first call reads nothing, which says nothing about the others.
      if (cachedTokens > 0) one.cachedTokens = cachedTokens
    }
  }

  /** The turn of a call that need not wait. Its answer keeps the prefix warm. */
  function follow(key: string, one: Known): PrefixTurn {
    return { answered: () => keepWarm(key, one), failed: () => {}, learn: learnFor(one) }
  }

  function lead(key: string, one: Known, end: () => void): PrefixTurn {
    let isOver = false
    const over = (then: () => void) => {
      if (isOver) return
      isOver = true
      then()
      end()
    }
    return {
      learn: learnFor(one),
      answered: () => over(() => keepWarm(key, one)),
      failed: () =>
        over(() => {
          redis.del(key).catch((error: unknown) => onError(error, 'giving up a prompt prefix'))
        }),
    }
  }

  return {
    async enter(lane, prefix, signal) {
      const key = `${deps.prefix}:prompt-prefix:${hash('sha256', `${lane} ${prefix}`, 'base64url').slice(0, 22)}`
      const one = recall(`${lane} ${prefix}`)
      const until = now() + WAIT_MS
      while (now() < until && one.warmUntil < now() && !signal.aborted) {
        if (one.first !== null) {
          await Promise.race([one.first, sleep(until - now(), undefined, { ref: false })])
          continue
        }
        const { promise, resolve } = Promise.withResolvers<void>()
        const end = () => {
          if (one.first === promise) one.first = null
          resolve()
        }
        one.first = promise
        try {
          if (await ask(key, one, until, signal)) {
            // After this time the others start, even if the call has not ended.
            setTimeout(end, WAIT_MS).unref()
            return lead(key, one, end)
          }
        } catch (error) {
          onError(error, 'waiting for the turn of a prompt prefix')
        }
        end()
        break
      }
      return follow(key, one)
    },

    cachedTokens(lane, prefix) {
      const one = known.get(`${lane} ${prefix}`)
      return one !== undefined && one.warmUntil > now() ? one.cachedTokens : 0
    },
  }
}
