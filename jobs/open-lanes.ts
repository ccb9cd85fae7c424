import { directChannel, openLanesChannel, readOpenLanes } from './keys.ts'
import type { PubSub } from './pubsub.ts'

/** How long what a worker said holds, ms; it says it every second. */
const HOLDS_MS = 2500

/** Which workers take a lane's jobs by direct dispatch, as they announce it. */
export type OpenLanes = {
  /** The channel of one of them, in turns; null: none is known. The lane may have closed since. */
  pick(lane: string): string | null
}

export function createOpenLanes(deps: { pubsub: PubSub; prefix: string; now: () => number }): OpenLanes {
  const { pubsub, prefix, now } = deps
  const workers = new Map<string, { lanes: ReadonlySet<string>; until: number }>()
  let turn = 0

  function hear(message: string): void {
    const { worker, lanes } = readOpenLanes(message)
    if (!worker) return
    if (lanes.length === 0) workers.delete(worker)
    else workers.set(worker, { lanes: new Set(lanes), until: now() + HOLDS_MS })
  }

  // Until the subscription is active no worker is known, and jobs go through the queue.
  pubsub.keepListening(openLanesChannel(prefix), hear)

  return {
    pick(lane) {
      const time = now()
      const able: string[] = []
      for (const [worker, { lanes, until }] of workers) {
        if (until < time) workers.delete(worker)
        else if (lanes.has(lane)) able.push(worker)
      }
      const worker = able[turn++ % able.length]
      return worker === undefined ? null : directChannel(prefix, worker)
    },
  }
}
