import { repeat } from '../lib/repeat.ts'
import type { FollowedKind } from '../lib/script-keys.ts'

/** Between two times that a process says whom it follows, and how long that holds for those who hear it, ms. */
const SAYS_MS = 1000
const HOLDS_MS = 3500

/** What is said of a tenant whose chunks are followed as well: this behind its root. */
const WITH_DELTAS = '\t'

/** Pub/sub channel on which processes say which tenants' events are followed with them: their roots, one a line. */
function followedChannel(prefix: string): string {
  return `${prefix}:followed`
}

/**
 * Which tenants somebody follows, in any process: scripts send hints for these alone. A word that is lost costs a follower some
 * time and no event, for `createTips` looks by itself.
 */
export type Followed = {
  /** In this process, or in others as they said lately. */
  read(root: string): FollowedKind
  /** From now on the tenant is followed here, until the function given is called. */
  add(root: string, withDeltas: boolean): () => void
  close(): Promise<void>
}

export function createFollowed(deps: {
  prefix: string
  publish: (channel: string, message: string) => Promise<unknown>
  listen: (channel: string, listener: (message: string) => void) => unknown
  /** Ms of any clock that only goes forward. */
  now: () => number
}): Followed {
  const { publish, now } = deps
  const channel = followedChannel(deps.prefix)
  /** By root, or root and mark. */
  const own = new Map<string, number>()
  const others = new Map<string, number>()

  deps.listen(channel, (message) => {
    const until = now() + HOLDS_MS
    for (const word of message.split('\n')) if (word !== '') others.set(word, until)
  })

  const say = async (words: Iterable<string>) => {
    const message = [...words].join('\n')
    if (message !== '') await publish(channel, message)
  }
  const turns = repeat(
    SAYS_MS,
    async () => {
      for (const [word, until] of others) if (until < now()) others.delete(word)
      await say(own.keys())
    },
    // It is said again.
    () => {},
  )
  const has = (word: string) => own.has(word) || (others.get(word) ?? Number.NEGATIVE_INFINITY) >= now()

  return {
    read(root) {
      // Mostly nobody is.
      if (own.size === 0 && others.size === 0) return 'nothing'
      if (has(root + WITH_DELTAS)) return 'deltas'
      return has(root) ? 'events' : 'nothing'
    },
    add(root, withDeltas) {
      const word = withDeltas ? root + WITH_DELTAS : root
      const count = own.get(word) ?? 0
      own.set(word, count + 1)
      if (count === 0) say([word]).catch(() => {})
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
