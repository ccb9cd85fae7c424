import { checkRecoveries } from './fault.ts'
import type { Load } from './load.ts'
import { findFlaws, type Subscriber, subscribe } from './subscriber.ts'
import { within } from './wait.ts'

/** Everybody who follows the events of a group, or of one of its jobs. */
export type Audience = {
  /** Follows the jobs that were accepted since the last call. */
  followNew(load: Load): void
  readonly size: number
  /** Waits for the end of all streams, `jobs` of the group having ended, and tells what was wrong with them. */
  conclude(jobs: number): Promise<{ broken: string[]; resumedMs: number[] }>
}

/** From the break of a stream to its going on elsewhere. */
const RESUMED_MS = 10_000
/** For the last events to come. */
const END_MS = 30_000

export function gatherAudience(options: {
  urls: () => string[]
  random: () => number
  group: string
  ofGroup: number
  /** Followers of each job. */
  ofJob: number
}): Audience {
  const { urls, random, group } = options
  let finished = false
  let followed = 0
  const ofJobs: Subscriber[] = []
  const path = `/v1/groups/${group}/events`
  const ofGroup = repeat(options.ofGroup, () => subscribe({ urls, random, path, finished: () => finished }))

  return {
    followNew({ sent }) {
      for (const { id } of sent.slice(followed)) {
        if (id === null) continue
        ofJobs.push(
          ...repeat(options.ofJob, () => subscribe({ urls, random, path: `/v1/jobs/${id}/events` })),
        )
      }
      followed = sent.length
    },
    get size() {
      return ofJobs.length + ofGroup.length
    },
    async conclude(jobs) {
      finished = true
      const broken: string[] = []
      const all = [...ofJobs, ...ofGroup]
      const reading = Promise.all(all.map((one) => one.done))
      await within(reading, END_MS, 'the end of all streams').catch(() => {
        broken.push('event streams go on though all is over')
      })
      for (const one of all) one.leave()
      await reading
      const flaws = all.map(findFlaws)
      const complain = (count: number, what: string) => void (count > 0 && broken.push(`${count} ${what}`))
      complain(sum(flaws.map((one) => one.gaps)), 'events are missing in streams')
      complain(sum(flaws.map((one) => one.repeats)), 'events came twice in a stream')
      complain(ofJobs.filter((one) => one.ended.size !== 1).length, 'streams of a job have not told its end')
      complain(
        ofGroup.filter((one) => one.ended.size !== jobs).length,
        'streams of the group have not told all ends',
      )
      const resumedMs = all.flatMap((one) => one.resumedMs)
      broken.push(...checkRecoveries(resumedMs, RESUMED_MS, 'resuming a stream'))
      return { broken, resumedMs }
    },
  }
}

function repeat<T>(count: number, make: () => T): T[] {
  return Array.from({ length: count }, make)
}

function sum(values: number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
