import { deltasKey, referencesChannel, referencesKey } from '../lib/event-references.ts'
import type { RedisClient } from '../lib/redis.ts'
import { type Repeating, repeat } from '../lib/repeat.ts'
import type { Followed } from './followed.ts'

/** How often Redis is asked for events without a hint, ms. */
const LOOK_MS = 1000

/** Notifies when a tenant's streams of references may have more. */
export type Tip = {
  /** Resolves at the next hint, at once if one came since the last call, or when the signal aborts. */
  next(): Promise<void>
  leave(): void
}

/** Makes tips for followers. Call `leave` of each tip when its follower ends. */
export type Tips = { follow(root: string, withDeltas: boolean, signal: AbortSignal): Tip }

type Watched = { wakes: Set<() => void>; leave: () => void; looks: Repeating }

/**
 * Makes one subscription and one look a second for each followed tenant of this process, shared by all its followers. Hints are lost
 * with a connection, and are not sent before scripts know that the tenant is followed. The look finds what they miss.
 */
export function createTips(deps: {
  redis: RedisClient
  followed: Followed
  /** Subscribes, as soon as Redis accepts it. Returns a handle that ends the subscription. */
  keepListening: (channel: string, listener: () => void) => { leave: () => void }
}): Tips {
  const { redis, followed } = deps
  const tenants = new Map<string, Watched>()

  function watch(root: string): Watched {
    const wakes = new Set<() => void>()
    const wakeAll = () => {
      for (const wake of [...wakes]) wake()
    }
    const newestOf = async (key: string) => (await redis.xrevrange(key, '+', '-', 'COUNT', 1))[0]?.[0]
    let newest: string | undefined
    const look = async () => {
      const found = await Promise.all([referencesKey(root), deltasKey(root)].map(newestOf))
      if (found.join() !== newest) wakeAll()
      newest = found.join()
    }
    return {
      wakes,
      leave: deps.keepListening(referencesChannel(root), wakeAll).leave,
      // If Redis is away, the next turn asks again.
      looks: repeat(LOOK_MS, look, () => {}),
    }
  }

  return {
    follow(root, withDeltas, signal) {
      const watched = tenants.get(root) ?? watch(root)
      tenants.set(root, watched)
      const unfollow = followed.add(root, withDeltas)
      let isHinted = true
      let resume: (() => void) | null = null
      const wake = () => {
        isHinted = true
        resume?.()
      }
      watched.wakes.add(wake)
      signal.addEventListener('abort', wake)
      return {
        async next() {
          if (!isHinted && !signal.aborted) await new Promise<void>((resolve) => (resume = resolve))
          resume = null
          isHinted = false
        },
        leave() {
          signal.removeEventListener('abort', wake)
          unfollow()
          watched.wakes.delete(wake)
          if (watched.wakes.size > 0 || tenants.get(root) !== watched) return
          tenants.delete(root)
          watched.leave()
          watched.looks.stop()
        },
      }
    },
  }
}
