import type { Machine } from '../machine.ts'
import { median } from '../statistics.ts'
import type { DoorOptions } from './options.ts'
import type { SystemName } from './stage.ts'

/** How a system is called. */
export type Way = { concurrency: number; isStream: boolean }

/** The result of calling a system in one way for a while. */
export type Cell = {
  calls: number
  /** Until the answer; of streams until their first chunk. */
  p50Ms: number
  p99Ms: number
  perSecond: number
  /** CPU time a call of each process between the client and the upstream. */
  cpuMs: Record<string, number>
}

export type Measured = Way & Cell & { system: SystemName }

/** The median of a system's rounds in one way, and the median of what it adds to the upstream. */
export type Row = Measured & { title: string; addedMs: number }

export type Check = {
  goal: string
  /** `LEAST`: not the goal, but within what is acceptable. */
  verdict: 'PASS' | 'LEAST' | 'FAIL'
  found: string
}

/** Everything that one run measured; the content of `bench/results/door-*.json`. */
export type DoorResult = {
  at: string
  commit: string
  machine: Machine
  /** Processes that wanted to run in the last minute of the bench, on average. */
  loadAfter: number
  options: Omit<DoorOptions, 'out' | 'profile'>
  rows: Row[]
  rounds: Measured[][]
  checks: Check[]
}

/**
 * Differences are computed within a round and only then averaged, because the machine differs from round to round.
 */
export function summarize(
  systems: readonly { name: SystemName; title: string }[],
  rounds: readonly Measured[][],
): Row[] {
  const ways = rounds[0]!.filter(({ system }) => system === systems[0]!.name)
  return ways.flatMap(({ concurrency, isStream }) => {
    const cells = (name: SystemName) =>
      rounds.map(
        (round) =>
          round.find(
            (one) => one.system === name && one.concurrency === concurrency && one.isStream === isStream,
          )!,
      )
    const upstream = cells('upstream')
    return systems.map(({ name, title }): Row => {
      const own = cells(name)
      const middle = (read: (cell: Cell, round: number) => number) => median(own.map(read))
      return {
        system: name,
        title,
        concurrency,
        isStream,
        calls: own.reduce((sum, { calls }) => sum + calls, 0),
        p50Ms: middle(({ p50Ms }) => p50Ms),
        p99Ms: middle(({ p99Ms }) => p99Ms),
        perSecond: middle(({ perSecond }) => perSecond),
        cpuMs: Object.fromEntries(
          Object.keys(own[0]!.cpuMs).map((part) => [part, middle(({ cpuMs }) => cpuMs[part]!)]),
        ),
        addedMs: middle(({ p50Ms }, round) => p50Ms - upstream[round]!.p50Ms),
      }
    })
  })
}
