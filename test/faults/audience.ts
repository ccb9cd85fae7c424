import { checkRecoveries } from './fault.ts'
import type { Load, Sent } from './load.ts'
import { findFlaws, type Subscriber, subscribe } from './subscriber.ts'
import { until, within } from './wait.ts'

/** All subscribers that follow the events of a group, or of one of its jobs. */
export type Audience = {
  /**
   * Adds `count` followers of these jobs, as far as they are accepted; they connect to `url` first if it is given.
   */
  follow(jobs: readonly Sent[], count: number, url?: string): void
  /** Adds `count` followers of the jobs that were accepted since the last call. */
  followNew(load: Load, count: number): void
  /** The number of followers that a process serves now. */
  at(url: string): number
  readonly size: number
  /**
   * Waits for the end of all streams, after `jobs` jobs of the group have ended, and reports what was wrong with
   * them.
   */
  conclude(jobs: number): Promise<{ broken: string[]; resumedMs: number[] }>
}

/** From the break of a stream until it goes on elsewhere. */
const RESUMED_MS = 10_000
/** The longest wait for the last events. */
const END_MS = 30_000

export function gatherAudience(options: {
  urls: () => string[]
  random: () => number
  group: string
  /** Followers of the group. */
  ofGroup: number
  /** Followers of everything, with chunks of streams, who keep what belongs to the group. */
  ofAll?: number
}): Audience {
  const { urls, random, group } = options
  let finished = false
  let followed = 0
  const ofJobs: Subscriber[] = []
  const path = `/v1/groups/${group}/events`
  const ofGroup = repeat(options.ofGroup, () => subscribe({ urls, random, path, finished: () => finished }))
  const everything = `/v1/events?deltas=true&group=${group}`
  const ofAll = repeat(options.ofAll ?? 0, () => subscribe({ urls, random, path: everything }))

  function follow(jobs: readonly Sent[], count: number, first?: string): void {
    const ids = jobs.flatMap(({ id }) => (id === null ? [] : [id]))
    if (ids.length === 0) return
    for (let one = 0; one < count; one++) {
      const path = `/v1/jobs/${ids[one % ids.length]}/events`
      ofJobs.push(subscribe({ urls, random, path, ...(first === undefined ? {} : { first }) }))
    }
  }

  return {
    follow,
    followNew({ sent }, count) {
      follow(sent.slice(followed), count)
      followed = sent.length
    },
    at: (url) => [...ofJobs, ...ofGroup, ...ofAll].filter((one) => one.servedBy === url).length,
    get size() {
      return ofJobs.length + ofGroup.length + ofAll.length
    },
    async conclude(jobs) {
      finished = true
      const broken: string[] = []
      const all = [...ofJobs, ...ofGroup, ...ofAll]
      const ending = Promise.all([...ofJobs, ...ofGroup].map((one) => one.done))
      await within(ending, END_MS, 'the end of all streams').catch(() => {
        broken.push('event streams go on though all jobs have ended')
      })
      // These streams do not end by themselves.
      const haveAll = () => (ofAll.every((one) => one.ended.size === jobs) ? true : null)
      await until(haveAll, END_MS, 'the last event of all').catch(() => {
        broken.push('streams of everything have not sent all ends')
      })
      const reading = Promise.all(all.map((one) => one.done))
      for (const one of all) one.leave()
      await reading
      const complain = (count: number, what: string) => void (count > 0 && broken.push(`${count} ${what}`))
      for (const [kind, streams] of [
        ['of jobs', ofJobs],
        ['of the group', ofGroup],
        ['of everything', ofAll],
      ] as const) {
        const flaws = streams.map(findFlaws)
        complain(sum(flaws.map((one) => one.gaps)), `events are missing in streams ${kind}`)
        complain(sum(flaws.map((one) => one.repeats)), `events came twice in streams ${kind}`)
      }
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
