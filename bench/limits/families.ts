import { setTimeout as sleep } from 'node:timers/promises'
import { startSluice } from './sluice.ts'
import { type Shares, sharesDuring } from './timeline.ts'
import { startUpstream } from './upstream.ts'
import { LIMITS, makeCalls } from './workload.ts'

export type FamilyRow = {
  /** Of the limit that two lanes share, over 60 s in which its window was as full as it gets. */
  shares: Shares
  /** Admitted of each lane over the same time, of all. */
  lanes: Record<string, number>
  /** 429s from the start to the end. */
  refused: number
}

const MODELS = ['family-1', 'family-2']
const WORKERS = 2
const WINDOW_SECONDS = 60
const SETTLING_SECONDS = 2
/** For each lane; more than the limit lets through. */
const COUNT = 4400

/** Two lanes of one family, each with more work than the limit that they share, at an upstream that counts every window to the millisecond. */
export async function measureFamilies(say: (line: string) => void): Promise<FamilyRow> {
  const seconds = SETTLING_SECONDS + 2 * WINDOW_SECONDS
  say(`Families: two lanes that share a limit, two workers, for ${seconds} s`)
  const closers: (() => Promise<unknown>)[] = []
  try {
    const windowMs = WINDOW_SECONDS * 1000
    const upstream = await startUpstream({
      name: 'upstream-family',
      enforcement: 'window',
      windowMs,
      family: 'family-*',
    })
    closers.push(upstream.close)
    const sluice = await startSluice({
      name: 'family',
      upstreamUrl: upstream.url,
      workers: WORKERS,
      windowMs,
      family: 'family-*',
    })
    closers.push(sluice.close)
    for (const model of MODELS) await sluice.submit('noisy', model, model, makeCalls(model, COUNT))
    const from = Math.ceil(Date.now() / 1000) + SETTLING_SECONDS + WINDOW_SECONDS
    const to = from + WINDOW_SECONDS
    await sleep(from * 1000 - Date.now())
    const before = await upstream.calls()
    await sleep(to * 1000 - Date.now())
    const [{ timeline, rejected }, after] = await Promise.all([upstream.state(), upstream.calls()])
    const during = after.slice(before.length)
    return {
      shares: sharesDuring(timeline, LIMITS, from, to),
      lanes: Object.fromEntries(
        MODELS.map((model) => [model, during.filter((one) => one.model === model).length / during.length]),
      ),
      refused: rejected.requests + rejected.tokens + rejected.concurrency,
    }
  } finally {
    for (const closer of closers.reverse()) await closer()
  }
}
