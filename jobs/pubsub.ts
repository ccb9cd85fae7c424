import { setTimeout as sleep } from 'node:timers/promises'
import type { RedisClient } from '../lib/redis.ts'

type MessageListener = (message: Buffer) => void

/**
 * Pub/sub over one connection a process, whoever many listen. Messages are hints that something changed: they may
 * be lost with a connection, so every listener reads the store after subscribing, and `onReconnect` listeners
 * read it again.
 */
export type PubSub = {
  /** Resolves once the subscription stands; what is published from then on is heard. */
  listen(channel: string, listener: (message: string) => void): Promise<() => void>
  /**
   * Listens for as long as the process runs: returns at once, and where Redis refuses or is away, subscribes when it can. The
   * listener is then called with '' once, for what was missed. Answers what ends it.
   */
  keepListening(
    channel: string,
    listener: (message: string) => void,
  ): { stands: () => boolean; leave: () => void }
  /** The same as `listen` for messages that are no text. */
  listenBytes(channel: string, listener: (message: Buffer) => void): Promise<() => void>
  /** Called after the connection was lost and every subscription stands again. */
  onReconnect(listener: () => void): () => void
}

/** Between two tries to subscribe where Redis refuses, ms. */
const AGAIN_MS = 500

/** What stands for messages that were missed. */
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
    // ioredis subscribes again by itself; a PING behind those commands answers when they stand.
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

  function keepListening(channel: string, listener: (message: string) => void) {
    let leaveChannel: (() => void) | null = null
    let isLeft = false
    async function subscribe(): Promise<void> {
      for (let attempt = 0; !isLeft && subscriber.status !== 'end'; attempt++) {
        try {
          leaveChannel = await listen(channel, listener)
          if (isLeft) leaveChannel()
          else if (attempt > 0) listener('')
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
    keepListening,
    onReconnect(listener) {
      reconnects.add(listener)
      return () => reconnects.delete(listener)
    },
  }
}
