import { repeat } from '../lib/repeat.ts'
import type { FollowedKind } from '../lib/script-keys.ts'

/** How often a process announces the tenants that it follows, and how long an announcement counts in other processes, ms. */
const ANNOUNCE_MS = 1000
const VALID_MS = 3500

/** The mark after the root of a tenant whose chunks are followed too. */
const WITH_DELTAS = '\t'

/** The pub/sub channel on which processes announce the tenants that they follow: the tenants' roots, one a line. */
function followedChannel(prefix: string): string {
  return `${prefix}:followed`
}

/**
 * Knows which tenants are followed in any process. Scripts send hints only for these. A lost announcement delays a follower but loses
 * no event, because `createTips` also looks by itself.
 */
export type Followed = {
  /** What is followed of a tenant, in this process or, by their latest announcements, in others. */
  read(root: string): FollowedKind
  /** Marks the tenant as followed here, until the returned function is called. */
  add(root: string, withDeltas: boolean): () => void
  close(): Promise<void>
}

/** Announces and listens from now on, until `close`. */
export function createFollowed(deps: {
  prefix: string
  publish: (channel: string, message: string) => Promise<unknown>
  listen: (channel: string, listener: (message: string) => void) => unknown
  /** Milliseconds of a monotonic clock. */
  now: () => number
}): Followed {
  const { publish, now } = deps
  const channel = followedChannel(deps.prefix)
  /** Number of followers, by root or by root and mark. */
  const own = new Map<string, number>()
  const others = new Map<string, number>()

  deps.listen(channel, (message) => {
    const until = now() + VALID_MS
    for (const word of message.split('\n')) if (word !== '') others.set(word, until)
  })

  const announce = async (words: Iterable<string>) => {
    const message = [...words].join('\n')
    if (message !== '') await publish(channel, message)
  }
  const turns = repeat(
    ANNOUNCE_MS,
    async () => {
      for (const [word, until] of others) if (until < now()) others.delete(word)
      await announce(own.keys())
    },
    // A failed announcement is repeated at the next turn.
    () => {},
  )
  const has = (word: string) => own.has(word) || (others.get(word) ?? Number.NEGATIVE_INFINITY) >= now()

  return {
    read(root) {
      // The usual case: nobody follows.
      if (own.size === 0 && others.size === 0) return 'nothing'
      if (has(root + WITH_DELTAS)) return 'deltas'
      return has(root) ? 'events' : 'nothing'
    },
    add(root, withDeltas) {
      const word = withDeltas ? root + WITH_DELTAS : root
      const count = own.get(word) ?? 0
      own.set(word, count + 1)
      if (count === 0) announce([word]).catch(() => {})
      let isLeft = false
      return () => {
        if (isLeft) return
        isLeft = true
        const left = own.get(word)! - 1
        if (left > 0) own.set(word, left)
        else own.delete(word)
      }
    },
    close: () => turns.stop(),
  }
}
