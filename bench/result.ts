import type { Machine } from './machine.ts'
import type { Latency } from './measure-requests.ts'
import type { Round } from './measure-throughput.ts'
import type { BenchOptions } from './options.ts'
import type { TracedCommand } from './redis-trace.ts'
import { median } from './statistics.ts'
import type { SystemName } from './systems.ts'

export type SystemResult = {
  title: string
  rounds: Round[]
  /** Medians of the rounds. */
  jobsPerSecond: number
  perJob: Round['perJob']
  /** What its processes sent to Redis for one job; calls and µs are a job's share. */
  commandsPerJob: TracedCommand[]
}

/** Everything that one run of the bench measured; the content of `bench/results/*.json`. */
export type BenchResult = {
  at: string
  commit: string
  machine: Machine
  /** Without the path of the results, which says something about the machine and nothing about the run. */
  options: Omit<BenchOptions, 'out' | 'profile'>
  systems: Record<SystemName, SystemResult>
  /** Jobs a second of Sluice over those of the queue built by hand: of the medians, and round by round. */
  sluiceOverHand: number
  sluiceOverHandByRound: number[]
  latency: { sluice: Latency; hand: Latency }
  cacheHitsPerSecond: number
  embeddings: { jobs: number; jobsPerSecond: number; providerRequests: number }
}

/** The medians of rounds, number by number. */
export function summarizeRounds(rounds: Round[]): Pick<SystemResult, 'jobsPerSecond' | 'perJob'> {
  const middle = (read: (round: Round) => number) => median(rounds.map(read))
  const { cpuMs, ...counts } = rounds[0]!.perJob
  const names = Object.keys(counts) as (keyof typeof counts)[]
  return {
    jobsPerSecond: middle((round) => round.jobsPerSecond),
    perJob: {
      ...(Object.fromEntries(
        names.map((name) => [name, middle((round) => round.perJob[name])]),
      ) as typeof counts),
      cpuMs: Object.fromEntries(
        Object.keys(cpuMs).map((process) => [process, middle((round) => round.perJob.cpuMs[process]!)]),
      ),
    },
  }
}
