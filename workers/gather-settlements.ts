import type { Lane } from '../config/lanes.ts'
import { atEndOfTurn } from '../lib/end-of-turn.ts'
import type { Gate, Settlement } from '../ratelimit/gate.ts'

/**
 * The gate of one lane, which sends all settlements of one turn of the event loop together. Most of the script's time
 * goes into reading and writing the lane's state, which it does once for all of them. Each settlement still resolves or
 * rejects with the store's answer.
 */
export function gatherSettlements(gate: Gate): Gate {
  let waiting: Settlement[] = []
  let sent: Promise<void> | null = null

  function send(lane: Lane): Promise<void> {
    return new Promise((resolve, reject) => {
      atEndOfTurn(() => {
        const batch = waiting
        waiting = []
        sent = null
        gate.settle(lane, batch).then(resolve, reject)
      })
    })
  }

  return {
    ...gate,
    settle(lane, settlements) {
      waiting.push(...settlements)
      sent ??= send(lane)
      return sent
    },
  }
}
