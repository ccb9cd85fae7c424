import type { Lane } from '../config/lanes.ts'
import { atEndOfTurn } from '../lib/end-of-turn.ts'
import type { Gate, Settlement } from '../ratelimit/gate.ts'

/**
 * The gate of one lane that sends the settlements of one turn of the event loop together: most of their script's
 * time goes into reading and writing the lane's state once, however many they are. A settlement still resolves, or
 * rejects, when the store has answered.
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
