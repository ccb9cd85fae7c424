import type { Lane } from '../config/lanes.ts'
import type { Held } from '../jobs/queue.ts'
import type { Claimed } from '../jobs/work.ts'

/** A held entry with what was claimed for it. */
export type ClaimedJob = { held: Held; claimed: Claimed }

/** A request that carries several jobs has as long as the most patient of them. */
export function timeoutOf(lane: Lane, claimedJobs: readonly ClaimedJob[]): number {
  return Math.max(...claimedJobs.map((one) => one.claimed.timeoutMs || lane.timeout))
}
