import type { RedisClient } from '../lib/redis.ts'

type Listener = (message: string) => void

/**
 * Pub/sub over one connection a process, whoever many listen. Messages are hints that something changed: they may
 * be lost with a connection, so every listener reads the store after subscribing, and `onReconnect` listeners
 * read it again.
 */
export type Live = {
  /** Resolves once the subscription stands; what is published from then on is heard. */
  listen(channel: string, listener: Listener): Promise<() => void>
  /** Called after the connection was lost and every subscription stands again. */
  onReconnect(listener: () => void): () => void
}

export function createLive(deps: { subscriber: RedisClient }): Live {
  const { subscriber } = deps
  const channels = new Map<string, { listeners: Set<Listener>; ready: Promise<unknown> }>()
  const reconnects = new Set<() => void>()
  let connectedBefore = subscriber.status === 'ready'

  subscriber.on('message', (channel: string, message: string) => {
    for (const listener of channels.get(channel)?.listeners ?? []) listener(message)
  })
  subscriber.on('ready', () => {
    // ioredis subscribes again by itself; a PING behind those commands answers when they stand.
    if (connectedBefore) {
      subscriber.ping().then(
        () => {
          for (const listener of [...reconnects]) listener()
          for (const channel of channels.values()) for (const listener of [...channel.listeners]) listener('')
        },
        () => {},
      )
    }
    connectedBefore = true
  })

  return {
    async listen(channel, listener) {
      let entry = channels.get(channel)
      if (!entry) {
        entry = { listeners: new Set(), ready: subscriber.subscribe(channel) }
        channels.set(channel, entry)
      }
      const own = entry
      own.listeners.add(listener)
      const leave = () => {
        own.listeners.delete(listener)
        if (own.listeners.size === 0 && channels.get(channel) === own) {
          channels.delete(channel)
          subscriber.unsubscribe(channel).catch(() => {})
        }
      }
      try {
        await own.ready
      } catch (error) {
        leave()
        throw error
      }
      return leave
    },
    onReconnect(listener) {
      reconnects.add(listener)
      return () => reconnects.delete(listener)
    },
  }
}
