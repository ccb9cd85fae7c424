import { setTimeout as sleep } from 'node:timers/promises'
import { startSluice } from './sluice.ts'
import { startUpstream } from './upstream.ts'
import { LIMITS, makeCalls, secondsOf, sumOf } from './workload.ts'

export type FairKeys = {
  /** Keys with a job each in one lane. */
  keys: number
  /** Of that lane's limit, over twenty seconds. */
  share: number
  /** What a key takes of Redis while its job waits. */
  bytesPerKey: number
  /** Jobs of one key in another lane, and of the key that comes there last. */
  flood: number
  jobs: number
  /** From the submission of the last key's jobs to their end. */
  seconds: number
}

const KEYS = 10_000
const FLOOD = 2_000
const JOBS = 5
/** The others run for so long before the last key comes. */
const HEAD_START_MS = 5_000
const MEASURED_MS = 20_000

/** One lane has a job of each of 10,000 keys, another one a flood of one key, behind which a last one comes; all have limits. */
export async function measureFairKeys(say: (line: string) => void): Promise<FairKeys> {
  say(`Fair keys: ${KEYS} of a job each, and ${JOBS} jobs of one behind ${FLOOD} of another`)
  const closers: (() => Promise<unknown>)[] = []
  try {
    const windowMs = 60_000
    const upstream = await startUpstream({ name: 'upstream-keys', enforcement: 'window', windowMs })
    closers.push(upstream.close)
    const perFairKey = { max_running: 2, max_queued: FLOOD, requests_per_minute: 600 }
    const sluice = await startSluice({
      ...{ name: 'keys', upstreamUrl: upstream.url, workers: 1, windowMs, perFairKey },
    })
    closers.push(sluice.close)
    const others = makeCalls('others', KEYS).map((call, at) => ({ ...call, fairKey: `user ${at}` }))
    const flood = makeCalls('flood', FLOOD).map((call) => ({ ...call, fairKey: 'flood' }))
    const last = makeCalls('last', JOBS).map((call) => ({ ...call, fairKey: 'last' }))
    await sluice.submit('noisy', 'others', 'wide', others)
    await sluice.submit('noisy', 'flood', 'deep', flood)
    await sleep(HEAD_START_MS)
    const from = Date.now()
    await sluice.submit('noisy', 'last', 'deep', last)
    const ended = await sluice.waitFor('noisy', 'last', JOBS)
    const seconds = (Math.max(...ended.map((job) => Date.parse(job.finished_at!))) - from) / 1000
    await sleep(Math.max(0, from + MEASURED_MS - Date.now()))
    const to = Date.now()
    const bytes = await sluice.bytesOf(/:(fair-key|key-ends|key-turns):/)
    const started = await sluice.list('noisy', 'others')
    const waiting = started.filter(({ status }) => status === 'queued').length
    const begun = others.filter((_, at) => {
      const startedAt = Date.parse(started[at]?.started_at ?? '')
      return startedAt >= from && startedAt <= to
    })
    return {
      keys: KEYS,
      share: secondsOf(sumOf(begun), LIMITS) / ((to - from) / 1000),
      bytesPerKey: bytes / waiting,
      ...{ flood: FLOOD, jobs: JOBS, seconds },
    }
  } finally {
    for (const closer of closers.reverse()) await closer()
  }
}
