import { setTimeout as sleep } from 'node:timers/promises'
import type { RedisClient } from '../lib/redis.ts'

type MessageListener = (message: Buffer) => void

/**
 * Pub/sub over one connection a process, for any number of listeners. Messages are hints that something changed. They
 * may be lost with a connection, so every listener reads the store after subscribing, and `onReconnect` listeners
 * read it again.
 */
export type PubSub = {
  /** Resolves once the subscription is active; later messages are heard. */
  listen(channel: string, listener: (message: string) => void): Promise<() => void>
  /**
   * Listens for as long as the process runs. It returns at once. If Redis refuses or is unavailable, it subscribes when it can
   * and calls the listener once with '', for missed messages. Returns a function that ends it.
   */
  keepListening(
    channel: string,
    listener: (message: string) => void,
  ): { stands: () => boolean; leave: () => void }
  /** The same for messages that are no text; missed ones are an empty message. */
  keepListeningToBytes(
    channel: string,
    listener: (message: Buffer) => void,
  ): { stands: () => boolean; leave: () => void }
  /** The same as `listen` for messages that are no text. */
  listenBytes(channel: string, listener: (message: Buffer) => void): Promise<() => void>
  /** Called after the connection was lost and every subscription is active again. */
  onReconnect(listener: () => void): () => void
}

/** Between two tries to subscribe while Redis refuses, ms. */
const AGAIN_MS = 500

/** The message that stands for missed messages. */
const NOTHING = Buffer.alloc(0)

export function createPubSub(deps: { subscriber: RedisClient }): PubSub {
  const { subscriber } = deps
  const channels = new Map<string, { listeners: Set<MessageListener>; ready: Promise<unknown> }>()
  const reconnects = new Set<() => void>()
  let connectedBefore = subscriber.status === 'ready'

  subscriber.on('messageBuffer', (channel: Buffer, message: Buffer) => {
    for (const listener of channels.get(channel.toString())?.listeners ?? []) listener(message)
  })
  subscriber.on('ready', () => {
    // ioredis subscribes again by itself; a PING after those commands answers when the subscriptions are active.
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

  async function listenBytes(channel: string, listener: MessageListener): Promise<() => void> {
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
  }

  const listen: PubSub['listen'] = (channel, listener) =>
    listenBytes(channel, (message) => listener(message.toString()))

  function keepListeningToBytes(channel: string, listener: MessageListener) {
    let leaveChannel: (() => void) | null = null
    let isLeft = false
    async function subscribe(): Promise<void> {
      for (let attempt = 0; !isLeft && subscriber.status !== 'end'; attempt++) {
        try {
          leaveChannel = await listenBytes(channel, listener)
          if (isLeft) leaveChannel()
          else if (attempt > 0) listener(NOTHING)
          return
        } catch {
          await sleep(AGAIN_MS, undefined, { ref: false })
        }
      }
    }
    subscribe()
    return {
      stands: () => leaveChannel !== null,
      leave: () => {
        isLeft = true
        leaveChannel?.()
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
