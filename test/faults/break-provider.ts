import { setTimeout as sleep } from 'node:timers/promises'
import { createRandom } from '../../simulator/random.ts'
import { get, getJob } from './client.ts'
import type { Fault, Outcome, Settings } from './fault.ts'
import { createMarker, FLOODS, ILLS, type Ill, markerOf, TIMEOUT_MS } from './ills.ts'
import { judge } from './judge.ts'
import { composeJob, deliver, type Load, type Sent, startLoad } from './load.ts'
import { readPeakMemory } from './memory.ts'
import { openStage, type Stage } from './stage.ts'
import type { Evidence } from './tally.ts'
import { until } from './wait.ts'

const GROUP = 'provider-faults'
const HUGE_BYTES = 1024 ** 3
/** Of one worker, with two such answers at once. */
const MOST_MEMORY = 600 * 1024 ** 2
/** From one pair to the next. */
const APART_MS = 5000
const RETRY_AFTER_MS = 1000

/** Every way in which a provider can fail, side by side. */
export const breakProvider: Fault = {
  name: 'provider',
  title: 'provider: errors, hangs, resets, drips, floods, garbage, a storm of 429s',
  async run(settings: Settings): Promise<Outcome> {
    const { seed, quick, say } = settings
    const random = createRandom(seed)
    const stage = await openStage({
      simulator: [
        ...['--latency', '200', '--jitter', '200', '--seed', String(seed)],
        ...['--huge-bytes', String(HUGE_BYTES)],
      ],
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
    await sleep(quick ? 8000 : 25_000)
    say('floods')
    const floods: Sent[] = []
    for (const streamed of FLOODS) {
      for (const ill of FLOODS) {
        const members = { timeout_ms: 60_000 }
        floods.push(load.add({ mark: markerOf(ill), streams: ill === streamed, members }))
      }
      await sleep(APART_MS)
    }
    say('a storm of 429s')
    await stage.simulator.setFaults([{ kind: '429', retry_after: RETRY_AFTER_MS }])
    await sleep(quick ? 4000 : 12_000)
    await stage.simulator.setFaults([])
    await load.stop()
    say('the same again')
    const kept = await findKeptFailures(stage, random)
    const { tally, evidence, broken } = await judge(stage, load, GROUP, 180_000)
    broken.push(...kept, ...findMisjudged(load.sent, evidence))

    const failed = [...tally.failed.values()].reduce((sum, count) => sum + count, 0)
    if (failed > floods.length) broken.push(`${failed - floods.length} jobs failed without a reason`)
    const lane = await get<{ in_flight: number }>(`${stage.urls()[0]}/v1/lanes/sim/chat`)
    if (lane?.in_flight !== 0) broken.push(`${lane?.in_flight} slots of the lane are not free again`)
    const memory = await readPeakMemory(stage.workers.map(({ pid }) => pid))
    if (memory > MOST_MEMORY) broken.push(`a worker took ${toMiB(memory)}, over ${toMiB(MOST_MEMORY)}`)
    const ill = load.sent.filter(({ mark }) => mark !== '').length
    return {
      tally,
      recoveriesMs: evidence.flatMap(untilGood),
      broken,
      notes: [
        `${ill} of ${tally.jobs} jobs met a fault of their own`,
        `a worker took ${toMiB(memory)} at the most`,
      ],
    }
  },
}

/** Every first attempt with a fault has to be classified correctly. */
function findMisjudged(sent: readonly Sent[], evidence: readonly Evidence[]): string[] {
  const marks = new Map(sent.map((job) => [job.id, job.mark]))
  return [...ILLS, ...FLOODS].flatMap((ill) => {
    const struck = evidence
      .filter(({ id }) => marks.get(id) === markerOf(ill))
      .map(({ attempts }) => {
        // The 429s may have come before the fault.
        const own = attempts.find(({ outcome }) => outcome !== 'throttled')
        return ill.outcome === 'throttled' ? attempts[0] : own
      })
    const misjudged = struck.filter(
      (first) => first?.outcome !== ill.outcome || first.ambiguous !== ill.ambiguous,
    )
    if (struck.length === 0) return [`${ill.mark} struck no job`]
    if (misjudged.length === 0) return []
    const { outcome, ambiguous } = misjudged[0] ?? {}
    const taken = `${outcome}${ambiguous ? ', ambiguous' : ''}`
    return [`${ill.mark}: ${misjudged.length} of ${struck.length} were taken for "${taken}"`]
  })
}

/**
 * Sends jobs that have one attempt and meet a fault. When they have failed, it sends equal jobs, which the provider
 * answers well: none of them may get a stored failure.
 */
async function findKeptFailures(stage: Stage, random: () => number): Promise<string[]> {
  const failing = [...ILLS, ...FLOODS].filter(
    ({ mark, outcome }) => outcome !== 'completed' && outcome !== 'throttled' && !mark.includes('times=2'),
  )
  const found = await Promise.all(failing.map((ill, index) => tryTwice(stage, random, ill, index)))
  return found.flat()
}

async function tryTwice(stage: Stage, random: () => number, ill: Ill, index: number): Promise<string[]> {
  const streams = ill.only === 'stream'
  const members = { timeout_ms: TIMEOUT_MS, max_attempts: 1, cache: 'use' }
  const job = composeJob({ group: `${GROUP}-again`, number: index, mark: markerOf(ill), streams, members })
  const counts: Pick<Load, 'answers' | 'slowestMs'> = { answers: new Map(), slowestMs: 0 }
  // With pauses in between, because many broken calls in a row open the breaker.
  await sleep(400 * index)
  const ends: string[] = []
  for (const key of [`${job.key}-first`, `${job.key}-second`]) {
    const sent = { ...job, key }
    await deliver(sent, { urls: stage.urls, random }, counts)
    const ended = await until(
      async () => {
        const known = await getJob(stage.urls()[0]!, sent.id!)
        return known?.status === 'failed' || known?.status === 'completed' ? known : null
      },
      90_000,
      'the end of a job with one attempt',
    )
    ends.push(`${ended.status}${ended.cache === 'hit' ? ' from the cache' : ''}`)
  }
  const [first, second] = ends
  return first === 'failed' && second === 'completed'
    ? []
    : [`${ill.mark}: ${first}, and the same again ${second}`]
}

function toMiB(bytes: number): string {
  return `${Math.round(bytes / 1024 ** 2)} MiB`
}

/** From the first call of a job that needed several to its last, ms. */
function untilGood({ attempts }: Evidence): number[] {
  const [first, last] = [attempts[0], attempts.at(-1)]
  if (first === undefined || last === undefined || first === last) return []
  return [Date.parse(last.started_at) - Date.parse(first.started_at)]
}
