import type { Load } from './load.ts'
import type { Stage } from './stage.ts'
import type { Tally } from './tally.ts'

/** The settings of a run. */
export type Settings = {
  seed: number
  /** Fewer, shorter. */
  quick: boolean
  /** Workers killed in mid-call. */
  kills: number
  /** How long the mix keeps striking. */
  mixMs: number
  /** The release that a roll-out begins with, as Git names it. */
  from: string
  /** From the death of a worker to the moment its jobs are looked at again. */
  stalledAfterMs: number
  /** Called with the progress. */
  say: (line: string) => void
  /** Called with what was opened, so that an interrupted run can close it. */
  opened: (stage: Stage) => void
}

/** What a fault did to a service under load. */
export type Outcome = {
  tally: Tally
  /** From each fault until its work ran again, ms. */
  recoveriesMs: number[]
  /** Promises that did not hold, besides L and D. */
  broken: string[]
  /** Other numbers that are worth knowing. */
  notes: string[]
}

export type Fault = {
  name: string
  title: string
  run(settings: Settings): Promise<Outcome>
}

/** Reports it if the slowest recovery took longer than promised. */
export function checkRecoveries(recoveriesMs: readonly number[], mostMs: number, what: string): string[] {
  const slowest = Math.max(0, ...recoveriesMs)
  return slowest <= mostMs ? [] : [`${what} took ${(slowest / 1000).toFixed(1)} s, over ${mostMs / 1000} s`]
}

/** How often each status was answered, for the notes. */
export function describeAnswers({ answers, slowestMs }: Load): string {
  const counts = [...answers]
    .toSorted(([a], [b]) => a - b)
    .map(([status, count]) => `${status || 'none'} ×${count}`)
  return `answers to clients: ${counts.join(', ')}; the slowest after ${(slowestMs / 1000).toFixed(1)} s`
}
