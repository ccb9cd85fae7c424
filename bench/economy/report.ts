import { renderTable } from '../limits/table.ts'
import type { Machine } from '../machine.ts'
import { ARRIVAL_HOURS, type WayResult } from './measure.ts'

export type EconomyResult = {
  at: string
  commit: string
  machine: Machine
  loadAfter: number
  jobs: number
  scale: number
  seed: number
  ways: WayResult[]
  checks: { what: string; holds: boolean }[]
}

/** `auto` may cost this multiple of the cheapest possible price. */
const MOST_TIMES = 1.05

export function checkGoals(ways: readonly WayResult[]): EconomyResult['checks'] {
  const auto = ways.find(({ way }) => way === 'auto')
  if (auto === undefined) return []
  const times = auto.usd / auto.cheapestUsd
  return [
    { what: `auto misses no deadline (${auto.missed})`, holds: auto.missed === 0 },
    {
      what: `auto costs at most ${MOST_TIMES} times the cheapest possible (${times.toFixed(3)})`,
      holds: times <= MOST_TIMES,
    },
  ]
}

/** The result as Markdown with aligned tables, which a terminal shows as well. */
export function renderReport(result: EconomyResult): string {
  const { machine, ways } = result
  return `${[
    `# Economy, ${result.at.slice(0, 10)}, commit ${result.commit}`,
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.os}; Node ${machine.node}, Redis ${machine.redis}; load ${machine.loadBefore} before and ${result.loadAfter} after.`,
    `${result.jobs.toLocaleString('en')} jobs within ${ARRIVAL_HOURS} hours, each with a deadline 15 minutes to 24 hours after it came (half of them less than two hours), ${result.scale} times as fast as the clock. Batches take 20 minutes to 20 hours, calls at flex one to four minutes; flex has no capacity for one call in ten, and none at all twice for half an hour.`,
    renderTable(
      ['way', 'USD', 'of the cheapest possible', 'deadlines missed', 'failed', 'answered by', 'bought'],
      ways.map((one) => [
        one.way,
        one.usd.toFixed(4),
        (one.usd / one.cheapestUsd).toFixed(3),
        String(one.missed),
        String(one.failed),
        Object.entries(one.served)
          .map(([tier, count]) => `${tier} ${count}`)
          .join(', '),
        `${one.bought}, ${one.providerBatches} batches`,
      ]),
    ),
    ...result.checks.map(({ what, holds }) => `- ${holds ? 'holds' : 'FAIL'}: ${what}`),
  ].join('\n\n')}\n`
}
