import type { Lane } from '../config/lanes.ts'
import type { Claimed } from '../jobs/claim.ts'
import type { Held } from '../jobs/queue-entry.ts'

/** A held entry with its claimed job. */
export type ClaimedJob = { held: Held; claimed: Claimed }

/** The time-out of a request, ms: the longest of those of its jobs. */
export function timeoutOf(lane: Lane, claimedJobs: readonly ClaimedJob[]): number {
  return Math.max(...claimedJobs.map((one) => one.claimed.timeoutMs || lane.timeout))
}
