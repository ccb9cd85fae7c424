import { setTimeout as sleep } from 'node:timers/promises'
import type { Attempt } from '../../jobs/job.ts'
import { createRandom } from '../../providers/simulator/random.ts'
import { get } from './client.ts'
import type { Fault, Outcome, Settings } from './fault.ts'
import { judge } from './judge.ts'
import { startLoad } from './load.ts'
import { openStage } from './stage.ts'
import type { Evidence } from './tally.ts'

const GROUP = 'provider-faults'
const TIMEOUT_MS = 2500

type Ill = {
  /** The simulator's name for it with its settings; docs/simulator.md. */
  mark: string
  /** How the first attempt has to end. */
  outcome: Attempt['outcome']
  /** Whether the provider may have worked, and billed, for all we know. */
  ambiguous: boolean
  /** Strikes only streams, or only answers in one piece. */
  only?: 'stream' | 'whole'
}

/** What a provider does wrong, and what it is to be taken for. */
const ILLS: readonly Ill[] = [
  { mark: '500:times=2', outcome: 'retryable', ambiguous: false },
  { mark: '503:times=1:retry_after=800', outcome: 'retryable', ambiguous: false },
  { mark: '429:times=1:retry_after=800', outcome: 'throttled', ambiguous: false },
  { mark: 'hang:times=1', outcome: 'timeout', ambiguous: true },
  { mark: 'slow:times=1:ms=4000', outcome: 'timeout', ambiguous: true },
  { mark: 'reset_before:times=1', outcome: 'retryable', ambiguous: true },
  { mark: 'reset_after:times=1', outcome: 'retryable', ambiguous: true },
  { mark: 'truncated_stream:times=1', outcome: 'retryable', ambiguous: true },
  { mark: 'garbage:times=1', outcome: 'retryable', ambiguous: true },
  { mark: 'wrong_shape:times=1', outcome: 'retryable', ambiguous: true },
  { mark: 'error_in_200:times=1', outcome: 'retryable', ambiguous: false, only: 'whole' },
  { mark: 'error_in_stream:times=1', outcome: 'retryable', ambiguous: true, only: 'stream' },
]

/**
 * Chooses the marks of jobs, the same share of them ill and no ill more often than the others. Few enough that it
 * is rare for so many broken calls to come in a row that the lane's breaker opens.
 */
export function createMarker(random: () => number, share: number): (streams: boolean) => string {
  const chosen = new Map(ILLS.map((ill) => [ill, 0]))
  return (streams) => {
    if (random() >= share) return ''
    const fitting = ILLS.filter(({ only }) => only === undefined || (only === 'stream') === streams)
    const rarest = Math.min(...fitting.map((ill) => chosen.get(ill)!))
    const candidates = fitting.filter((ill) => chosen.get(ill) === rarest)
    const ill = candidates[Math.floor(random() * candidates.length)]!
    chosen.set(ill, rarest + 1)
    return `[[fault:${ill.mark}]]`
  }
}

/** Every way of a provider to fail, beside each other. */
export const breakProvider: Fault = {
  name: 'provider',
  title: 'provider: 5xx, 429, hang, reset, truncated, garbage',
  async run(settings: Settings): Promise<Outcome> {
    const { seed, quick } = settings
    const random = createRandom(seed)
    const stage = await openStage({
      simulator: ['--latency', '200', '--jitter', '200', '--seed', String(seed)],
      stalledAfterMs: settings.stalledAfterMs,
    })
    settings.opened(stage)
    const load = startLoad({
      urls: stage.urls,
      random,
      group: GROUP,
      perSecond: 8,
      members: { timeout_ms: TIMEOUT_MS },
      mark: createMarker(random, 0.25),
    })
    await sleep(quick ? 12_000 : 45_000)
    await load.stop()
    const { tally, evidence, broken } = await judge(stage, load, GROUP, 180_000)
    const marks = new Map(load.sent.map((job) => [job.id, job.mark]))
    for (const ill of ILLS) {
      const struck = evidence.filter(({ id }) => marks.get(id) === `[[fault:${ill.mark}]]`)
      const misjudged = struck.filter(({ attempts: [first] }) => {
        return first?.outcome !== ill.outcome || first.ambiguous !== ill.ambiguous
      })
      if (struck.length === 0) broken.push(`${ill.mark} struck no job`)
      if (misjudged.length > 0) {
        const { outcome, ambiguous } = misjudged[0]!.attempts[0] ?? {}
        const taken = `${outcome}${ambiguous ? ', ambiguous' : ''}`
        broken.push(`${ill.mark}: ${misjudged.length} of ${struck.length} were taken for "${taken}"`)
      }
    }
    const lane = await get<{ in_flight: number }>(`${stage.urls()[0]}/v1/lanes/sim/chat`)
    if (lane?.in_flight !== 0) broken.push(`${lane?.in_flight} slots of the lane are not free again`)
    return {
      tally,
      recoveriesMs: evidence.flatMap(untilGood),
      broken,
      notes: [
        `${[...marks.values()].filter((mark) => mark !== '').length} of ${tally.jobs} jobs met a fault`,
      ],
    }
  },
}

/** From the first call of a job that needed several to its last, ms. */
function untilGood({ attempts }: Evidence): number[] {
  const [first, last] = [attempts[0], attempts.at(-1)]
  if (first === undefined || last === undefined || first === last) return []
  return [Date.parse(last.started_at) - Date.parse(first.started_at)]
}
