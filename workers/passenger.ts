import type { Lane } from '../config/lanes.ts'
import type { Held } from '../jobs/queue.ts'
import type { Claimed } from '../jobs/work.ts'

/** A held entry with what was claimed for it. */
export type Passenger = { held: Held; claimed: Claimed }

/** A request that carries several jobs has as long as the most patient of them. */
export function timeoutOf(lane: Lane, passengers: readonly Passenger[]): number {
  return Math.max(...passengers.map((one) => one.claimed.timeoutMs || lane.timeout))
}
