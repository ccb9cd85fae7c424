import { setTimeout as sleep } from 'node:timers/promises'
import { createSimulator } from '../../simulator/simulator.ts'
import { type Sluice, startSluice } from './sluice.ts'
import { makeCalls } from './workload.ts'

export type KneePhase = {
  /** Calls at once up to which the server hardly slows down. */
  knee: number
  /** Of the lane with `max_concurrency: auto`: answered calls a second, and the 95th percentile of their time, s. */
  auto: Answered
  /** Of the fixed number with the most throughput. */
  best: Answered & { limit: number }
}
type Answered = { rate: number; p95: number }

const KNEES = [12, 28]
/** Of the fixed lanes, around both knees. */
const FIXED = [10, 12, 14, 25, 28, 32]
const FINDING_SECONDS = 60
const MEASURED_SECONDS = 30
/** More than a lane answers in the time. */
const COUNT = 3500
const SERVER = { firstTokenMs: 150, tokenMs: 20 }
const OUTPUT_TOKENS = 40

/** A hidden knee that moves after a minute and a half: what `auto` finds, beside lanes with fixed numbers at servers of the same kind. */
export async function measureKnee(say: (line: string) => void): Promise<KneePhase[]> {
  say(
    `A hidden knee: ${KNEES.join(', then ')} calls at once, for ${FINDING_SECONDS + MEASURED_SECONDS} s each`,
  )
  const closers: (() => Promise<unknown>)[] = []
  try {
    const simulator = createSimulator({
      selfHosted: { knee: KNEES[0]!, ...SERVER },
      outputTokens: OUTPUT_TOKENS,
    })
    closers.push(() => simulator.close())
    const lanes = {
      auto: 'auto' as const,
      ...Object.fromEntries(FIXED.map((limit) => [`fixed-${limit}`, limit])),
    }
    const sluice = await startSluice({
      name: 'knee',
      upstreamUrl: await simulator.listen(),
      workers: 2,
      windowMs: 60_000,
      concurrency: lanes,
    })
    closers.push(sluice.close)
    for (const lane of Object.keys(lanes)) await sluice.submit('noisy', lane, lane, makeCalls(lane, COUNT))

    const windows: { knee: number; from: number; to: number }[] = []
    for (const knee of KNEES) {
      simulator.setKnee(knee)
      await sleep(FINDING_SECONDS * 1000)
      const from = Date.now()
      await sleep(MEASURED_SECONDS * 1000)
      windows.push({ knee, from, to: Date.now() })
    }
    const times = new Map<string, Ended[]>()
    for (const lane of Object.keys(lanes)) times.set(lane, await readEnded(sluice, lane))
    return windows.map(({ knee, from, to }) => {
      const measure = (lane: string) => measureLane(times.get(lane)!, from, to)
      const fixed = FIXED.map((limit) => ({ limit, ...measure(`fixed-${limit}`) }))
      const best = fixed.reduce((one, other) => (other.rate > one.rate ? other : one))
      return { knee, auto: measure('auto'), best }
    })
  } finally {
    for (const closer of closers.reverse()) await closer()
  }
}

type Ended = { at: number; seconds: number }

async function readEnded(sluice: Sluice, lane: string): Promise<Ended[]> {
  const jobs = await sluice.list('noisy', lane)
  return jobs.flatMap(({ started_at, finished_at }) => {
    if (started_at === null || finished_at === null) return []
    const at = Date.parse(finished_at)
    return [{ at, seconds: (at - Date.parse(started_at)) / 1000 }]
  })
}

function measureLane(ended: readonly Ended[], from: number, to: number): Answered {
  const seconds = ended.filter(({ at }) => at >= from && at < to).map((one) => one.seconds)
  seconds.sort((a, b) => a - b)
  return {
    rate: (seconds.length * 1000) / (to - from),
    p95: seconds[Math.floor(seconds.length * 0.95)] ?? Number.POSITIVE_INFINITY,
  }
}
