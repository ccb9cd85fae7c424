import { directChannel, openLanesChannel, readOpenLanes } from './keys.ts'
import type { PubSub } from './pubsub.ts'

/** How long an announcement of a worker is valid, ms. Workers announce every second. */
const HOLDS_MS = 2500

/**
 * A worker that takes jobs by direct dispatch. `takesStarted`: also jobs that were started for it, which workers of
 * earlier releases do not take.
 */
export type DirectWorker = { name: string; channel: string; takesStarted: boolean }

/** Which workers take a lane's jobs by direct dispatch, from their announcements. */
export type OpenLanes = {
  /** One of these workers, in turns; null: none is known. Its lane may have closed since. */
  pick(lane: string): DirectWorker | null
}

export function createOpenLanes(deps: { pubsub: PubSub; prefix: string; now: () => number }): OpenLanes {
  const { pubsub, prefix, now } = deps
  const workers = new Map<string, { worker: DirectWorker; lanes: ReadonlySet<string>; until: number }>()
  let turn = 0

  function receive(message: string): void {
    const { worker: name, takesStarted, lanes } = readOpenLanes(message)
    if (!name) return
    const worker = { name, channel: directChannel(prefix, name), takesStarted }
    if (lanes.length === 0) workers.delete(name)
    else workers.set(name, { worker, lanes: new Set(lanes), until: now() + HOLDS_MS })
  }

  // Until the subscription is active, no worker is known, and jobs go through the queue.
  pubsub.keepListening(openLanesChannel(prefix), receive)

  return {
    pick(lane) {
      const time = now()
      const able: DirectWorker[] = []
      for (const [name, { worker, lanes, until }] of workers) {
        if (until < time) workers.delete(name)
        else if (lanes.has(lane)) able.push(worker)
      }
      return able[turn++ % able.length] ?? null
    },
  }
}
