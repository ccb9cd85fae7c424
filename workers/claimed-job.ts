import type { Lane } from '../config/lanes.ts'
import type { Claimed } from '../jobs/claim.ts'
import type { Held } from '../jobs/queue-entry.ts'

/** A held entry with its claimed job. */
export type ClaimedJob = { held: Held; claimed: Claimed }

/** A request of several jobs has the longest of their time-outs. */
export function timeoutOf(lane: Lane, claimedJobs: readonly ClaimedJob[]): number {
  return Math.max(...claimedJobs.map((one) => one.claimed.timeoutMs || lane.timeout))
}
