import { setTimeout as sleep } from 'node:timers/promises'
import type { RedisClient } from '../lib/redis.ts'

type MessageListener = (message: Buffer) => void

/** A subscription that lasts until it is ended, or the process ends. */
export type Subscription = {
  /** Whether Redis has confirmed it. */
  isActive(): boolean
  /** Ends it. The listener hears nothing more. */
  leave(): void
  /** Ends it when Redis sends nothing more. The listener hears what comes until then. */
  drain(): Promise<void>
}

/**
 * Pub/sub over one connection of the process, for any number of listeners. Messages are hints that something changed.
 * They may be lost with a connection. So every listener reads the store after it has subscribed, and `onReconnect`
 * listeners read it again.
 */
export type PubSub = {
  /** Resolves when the subscription is active. From then on messages are heard. The result ends it. */
  listen(channel: string, listener: (message: string) => void): Promise<() => void>
  /**
   * Listens for as long as the process runs, and returns at once. If Redis refuses or is unavailable, it subscribes as
   * soon as it can, and then calls the listener once with '' for missed messages.
   */
  keepListening(channel: string, listener: (message: string) => void): Subscription
  /** The same for binary messages. Missed messages are an empty message. */
  keepListeningToBytes(channel: string, listener: (message: Buffer) => void): Subscription
  /** The same as `listen` for binary messages. */
  listenBytes(channel: string, listener: (message: Buffer) => void): Promise<() => void>
  /** Called when every subscription is active again after the connection was lost. */
  onReconnect(listener: () => void): () => void
}

/** Time between two tries to subscribe while Redis refuses, ms. */
const AGAIN_MS = 500

/** The message for missed messages. */
const NOTHING = Buffer.alloc(0)

export function createPubSub(deps: { subscriber: RedisClient }): PubSub {
  const { subscriber } = deps
  const channels = new Map<string, { listeners: Set<MessageListener>; ready: Promise<unknown> }>()
  /** The last listeners of channels whose end was sent to Redis. */
  const draining = new Set<{ channel: string; listener: MessageListener }>()
  const reconnects = new Set<() => void>()
  let connectedBefore = subscriber.status === 'ready'

  subscriber.on('messageBuffer', (channel: Buffer, message: Buffer) => {
    const name = channel.toString()
    for (const listener of channels.get(name)?.listeners ?? []) listener(message)
    for (const one of draining) if (one.channel === name) one.listener(message)
  })
  subscriber.on('ready', () => {
    // ioredis subscribes again by itself. A PING after those commands answers when the subscriptions are active.
    if (connectedBefore) {
      subscriber.ping().then(
        () => {
          for (const listener of [...reconnects]) listener()
          for (const channel of channels.values())
            for (const listener of [...channel.listeners]) listener(NOTHING)
        },
        () => {},
      )
    }
    connectedBefore = true
  })

  async function join(channel: string, listener: MessageListener): Promise<Omit<Subscription, 'isActive'>> {
    let entry = channels.get(channel)
    if (!entry) {
      entry = { listeners: new Set(), ready: subscriber.subscribe(channel) }
      channels.set(channel, entry)
    }
    const own = entry
    own.listeners.add(listener)
    /** Resolves when Redis sends nothing more, or at once if others still listen. */
    const end = async () => {
      own.listeners.delete(listener)
      if (own.listeners.size > 0 || channels.get(channel) !== own) return
      // A listener that comes from now on subscribes to the channel again, after this.
      channels.delete(channel)
      await subscriber.unsubscribe(channel).catch(() => {})
    }
    const leave = () => {
      end()
    }
    try {
      await own.ready
    } catch (error) {
      leave()
      throw error
    }
    return {
      leave,
      async drain() {
        const last = { channel, listener }
        const ended = end()
        draining.add(last)
        await ended
        draining.delete(last)
      },
    }
  }

  async function listenBytes(channel: string, listener: MessageListener): Promise<() => void> {
    return (await join(channel, listener)).leave
  }

  const listen: PubSub['listen'] = (channel, listener) =>
    listenBytes(channel, (message) => listener(message.toString()))

  function keepListeningToBytes(channel: string, listener: MessageListener): Subscription {
    let joined: Omit<Subscription, 'isActive'> | null = null
    let isLeft = false
    async function subscribe(): Promise<void> {
      for (let attempt = 0; !isLeft && subscriber.status !== 'end'; attempt++) {
        try {
          joined = await join(channel, listener)
          if (isLeft) joined.leave()
          else if (attempt > 0) listener(NOTHING)
          return
        } catch {
          await sleep(AGAIN_MS, undefined, { ref: false })
        }
      }
    }
    subscribe()
    return {
      isActive: () => joined !== null,
      leave() {
        isLeft = true
        joined?.leave()
      },
      async drain() {
        isLeft = true
        await joined?.drain()
      },
    }
  }

  return {
    listenBytes,
    listen,
    keepListening: (channel, listener) =>
      keepListeningToBytes(channel, (message) => listener(message.toString())),
    keepListeningToBytes,
    onReconnect(listener) {
      reconnects.add(listener)
      return () => reconnects.delete(listener)
    },
  }
}
