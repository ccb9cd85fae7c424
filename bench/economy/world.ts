/**
 * The provider of the bench, and the jobs that come to it. All times are of the simulated world, in ms since its beginning; everything
 * follows from the seed.
 */

import { createRandom } from '../../simulator/random.ts'

export const MINUTE = 60_000
export const HOUR = 60 * MINUTE

/** How long calls take at standard, and at flex: each of these times is as likely. */
export const STANDARD_MS = 10_000
export const FLEX_MS = [1 * MINUTE, 2 * MINUTE, 4 * MINUTE]
/** This share of calls at flex finds no capacity at any time, and every call in these stretches. */
export const FLEX_REFUSED = 0.1
export const FLEX_OUTAGES = [
  { from: 2 * HOUR, to: 2.5 * HOUR },
  { from: 4.5 * HOUR, to: 5 * HOUR },
]
/** Batches that are created within the same stretch of time take equally long. */
export const SLOT_MS = 10 * MINUTE
/** How long batches take: by the share of them that are no slower, from the shortest to the longest. */
const TURNAROUNDS = [
  { upTo: 0.7, from: 20 * MINUTE, to: HOUR },
  { upTo: 0.9, from: HOUR, to: 4 * HOUR },
  { upTo: 1, from: 6 * HOUR, to: 20 * HOUR },
]

/** Jobs come evenly over this time. */
export const ARRIVALS_MS = 6 * HOUR
/** The time from a job's arrival to its deadline: spread evenly over the logarithm, so that half of the jobs have less than two hours. */
const SHORTEST_MS = 15 * MINUTE
const LONGEST_MS = 24 * HOUR

export type PlannedJob = { index: number; at: number; deadline: number }
export type World = {
  jobs: PlannedJob[]
  /** How long a batch takes that is created at this time. */
  turnaround(at: number): number
}

export function createWorld(jobs: number, seed: number): World {
  const random = createRandom(seed)
  const planned = Array.from({ length: jobs }, (_, index) => {
    const at = (index / jobs) * ARRIVALS_MS
    const time = SHORTEST_MS * (LONGEST_MS / SHORTEST_MS) ** random()
    return { index, at, deadline: at + time }
  })
  const slots = Array.from({ length: Math.ceil((3 * LONGEST_MS) / SLOT_MS) }, () => {
    const share = random()
    const range = TURNAROUNDS.find((one) => share < one.upTo)!
    return range.from + random() * (range.to - range.from)
  })
  return { jobs: planned, turnaround: (at) => slots[Math.floor(Math.max(0, at) / SLOT_MS)] ?? slots.at(-1)! }
}

/**
 * Whether a job can be answered in time at half the price, with full knowledge: in a batch that is created at the
 * best moment, or in the fastest call at flex outside of an outage. No decision made beforehand can do better.
 */
export function canBeHalf(world: World, { at, deadline }: PlannedJob): boolean {
  const fastest = Math.min(...FLEX_MS)
  const outage = FLEX_OUTAGES.find((one) => at >= one.from && at < one.to)
  if (Math.max(at, outage?.to ?? at) + fastest <= deadline) return true
  for (let created = at; created < deadline; created += SLOT_MS / 2) {
    if (created + world.turnaround(created) <= deadline) return true
  }
  return false
}
