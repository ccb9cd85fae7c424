import { setTimeout as sleep } from 'node:timers/promises'
import { startSluice } from './sluice.ts'
import { type Shares, sharesDuring } from './timeline.ts'
import { startUpstream } from './upstream.ts'
import { LIMITS, makeCalls } from './workload.ts'

export type SteadyRow = {
  name: string
  /** Of the limits, over 60 s in which every window of the upstream was as full as it gets. */
  shares: Shares
  /** Of the limits, over the 60 s before, while the first window filled. */
  firstShares: Shares
  /** 429s from the start to the end. */
  refused: number
}

const WINDOW_SECONDS = 60
/** Until the queue is full and the first calls have left. */
const SETTLING_SECONDS = 2
/** More than the limits let through in the time. */
const COUNT = 4400

/** Two minutes of more work than the limits allow, at an upstream that counts every window to the millisecond. */
export async function measureSteady(say: (line: string) => void): Promise<SteadyRow[]> {
  const seconds = SETTLING_SECONDS + 2 * WINDOW_SECONDS
  say(`Steady: one worker, and three, each at an upstream of its own for ${seconds} s`)
  return Promise.all([measureOne('d. Sluice, one worker', 1), measureOne('e. Sluice, three workers', 3)])
}

async function measureOne(name: string, workers: number): Promise<SteadyRow> {
  const closers: (() => Promise<unknown>)[] = []
  try {
    const windowMs = WINDOW_SECONDS * 1000
    const upstream = await startUpstream({ name: `upstream-${workers}`, enforcement: 'window', windowMs })
    closers.push(upstream.close)
    const options = { name: `steady-${workers}`, upstreamUrl: upstream.url, workers, windowMs }
    const sluice = await startSluice(options)
    closers.push(sluice.close)

    await sluice.submit('noisy', 'steady', 'steady', makeCalls('steady', COUNT))
    const from = Math.ceil(Date.now() / 1000) + SETTLING_SECONDS
    const middle = from + WINDOW_SECONDS
    const to = middle + WINDOW_SECONDS
    await sleep(to * 1000 - Date.now())
    const { timeline, rejected } = await upstream.state()
    if ((await sluice.countEnded('noisy', 'steady')) >= COUNT) throw new Error('the queue became empty')
    return {
      name,
      shares: sharesDuring(timeline, LIMITS, middle, to),
      firstShares: sharesDuring(timeline, LIMITS, from, middle),
      refused: rejected.requests + rejected.tokens + rejected.concurrency,
    }
  } finally {
    for (const closer of closers.reverse()) await closer()
  }
}
