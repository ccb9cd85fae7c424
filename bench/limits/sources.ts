import { setTimeout as sleep } from 'node:timers/promises'
import { startSluice } from './sluice.ts'
import { type Shares, sharesDuring } from './timeline.ts'
import { startUpstream } from './upstream.ts'
import { LIMITS, makeCalls } from './workload.ts'

export type SourcesRow = {
  /** Of the sum of the limits, over 60 s in which every window of the upstream was as full as it gets. */
  shares: Shares
  /** Billed of each key over the same time, of all. */
  keys: Record<string, number>
  /** 429s from the start to the end. */
  refused: number
}

/** The share of the limits that each key has. */
const SHARES = { main: 0.5, second: 0.3, third: 0.2 }
const MODEL = 'sources'
const WORKERS = 2
const WINDOW_SECONDS = 60
const SETTLING_SECONDS = 2
/** More than the limits let through in the time. */
const COUNT = 4400

/** One lane with three sources of unlike limits and more work than they grant together, at an upstream that counts every key's window to the millisecond. */
export async function measureSources(say: (line: string) => void): Promise<SourcesRow> {
  const seconds = SETTLING_SECONDS + 2 * WINDOW_SECONDS
  say(`Sources: a lane with three of unlike limits, two workers, for ${seconds} s`)
  const closers: (() => Promise<unknown>)[] = []
  try {
    const windowMs = WINDOW_SECONDS * 1000
    const upstream = await startUpstream({
      name: 'upstream-sources',
      enforcement: 'window',
      windowMs,
      keys: SHARES,
    })
    closers.push(upstream.close)
    const sluice = await startSluice({
      name: 'sources',
      upstreamUrl: upstream.url,
      workers: WORKERS,
      windowMs,
      sources: { model: MODEL, shares: SHARES },
    })
    closers.push(sluice.close)
    await sluice.submit('noisy', MODEL, MODEL, makeCalls(MODEL, COUNT))
    const from = Math.ceil(Date.now() / 1000) + SETTLING_SECONDS + WINDOW_SECONDS
    const to = from + WINDOW_SECONDS
    await sleep(from * 1000 - Date.now())
    const before = await upstream.calls()
    await sleep(to * 1000 - Date.now())
    const [{ timeline, rejected }, after] = await Promise.all([upstream.state(), upstream.calls()])
    const during = after.slice(before.length)
    return {
      shares: sharesDuring(timeline, LIMITS, from, to),
      keys: Object.fromEntries(
        Object.keys(SHARES).map((key) => [
          key,
          during.filter((one) => one.key === key).length / during.length,
        ]),
      ),
      refused: rejected.requests + rejected.tokens + rejected.concurrency,
    }
  } finally {
    for (const closer of closers.reverse()) await closer()
  }
}
