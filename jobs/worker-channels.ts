import { abortChannel, directChannel, formatOpenLanes, openLanesChannel, wakeChannel } from './keys.ts'
import type { PubSub, Subscription } from './pubsub.ts'

/** What a worker hears and announces. Messages may be lost; the worker then finds the same later without them. */
export type WorkerChannels = {
  /** There may be work in this lane; '': in any lane. */
  onWake(listener: (lane: string) => void): Subscription
  /** A job was cancelled. */
  onAbort(listener: (tenant: string, id: string) => void): Subscription
  /** A job was dispatched to this worker. */
  onDirect(listener: (message: Buffer) => void): Subscription
  /** Tells the API which lanes take direct dispatches; with none, this worker stops. */
  announce(lanes: string[]): Promise<unknown>
}

export function createWorkerChannels(deps: {
  pubsub: Pick<PubSub, 'keepListening' | 'keepListeningToBytes'>
  publish: (channel: string, message: string) => Promise<unknown>
  prefix: string
  /** Identifies this process among all. */
  worker: string
}): WorkerChannels {
  const { pubsub, publish, prefix, worker } = deps
  return {
    onWake: (listener) => pubsub.keepListening(wakeChannel(prefix), listener),
    onAbort: (listener) =>
      pubsub.keepListening(abortChannel(prefix), (message) => {
        const [tenant, id] = message.split(' ')
        if (tenant && id) listener(tenant, id)
      }),
    onDirect: (listener) =>
      pubsub.keepListeningToBytes(directChannel(prefix, worker), (message) => {
        // A sweep handles missed messages.
        if (message.length > 0) listener(message)
      }),
    announce: (lanes) => publish(openLanesChannel(prefix), formatOpenLanes(worker, lanes)),
  }
}
