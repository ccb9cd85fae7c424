import { setTimeout as sleep } from 'node:timers/promises'
import type { BilledCall } from '../../simulator/state.ts'
import { type SluiceOptions, startSluice } from './sluice.ts'
import { type Shares, sharesDuring } from './timeline.ts'
import { startUpstream } from './upstream.ts'
import { LIMITS, makeCalls } from './workload.ts'

/** What an upstream saw over 60 s in which every window was as full as possible. */
export type FullWindow = {
  /** Of the limits that it enforced. */
  shares: Shares
  /** Billed in that time, by the name that `nameOf` gives a call: shares of all. */
  parts: Record<string, number>
  /** 429s from the start to the end. */
  refused: number
}

export type FullWindowOptions = {
  name: string
  /** What the upstream counts together or separately. */
  upstream: { family?: string; keys?: Record<string, number> }
  sluice: Pick<SluiceOptions, 'family' | 'sources'>
  /** Each gets more work than the limits let through in the time. */
  models: readonly string[]
  parts: readonly string[]
  nameOf(call: BilledCall): string | null
}

const WORKERS = 2
const WINDOW_SECONDS = 60
const SETTLING_SECONDS = 2
/** Jobs of each model. */
const COUNT = 4400
export const FULL_WINDOW_SECONDS = SETTLING_SECONDS + 2 * WINDOW_SECONDS

/** Two workers with more work than the limits let through, at an upstream that counts every window to the millisecond. */
export async function measureFullWindow(options: FullWindowOptions): Promise<FullWindow> {
  const { name, models, parts, nameOf } = options
  const closers: (() => Promise<unknown>)[] = []
  try {
    const windowMs = WINDOW_SECONDS * 1000
    const upstream = await startUpstream({
      name: `upstream-${name}`,
      enforcement: 'window',
      windowMs,
      ...options.upstream,
    })
    closers.push(upstream.close)
    const sluice = await startSluice({
      name,
      upstreamUrl: upstream.url,
      workers: WORKERS,
      windowMs,
      ...options.sluice,
    })
    closers.push(sluice.close)
    for (const model of models) await sluice.submit('noisy', model, model, makeCalls(model, COUNT))
    const from = Math.ceil(Date.now() / 1000) + SETTLING_SECONDS + WINDOW_SECONDS
    const to = from + WINDOW_SECONDS
    await sleep(from * 1000 - Date.now())
    const before = await upstream.calls()
    await sleep(to * 1000 - Date.now())
    const [{ timeline, rejected }, after] = await Promise.all([upstream.state(), upstream.calls()])
    const during = after.slice(before.length)
    const shareOf = (part: string) => during.filter((call) => nameOf(call) === part).length / during.length
    return {
      shares: sharesDuring(timeline, LIMITS, from, to),
      parts: Object.fromEntries(parts.map((part) => [part, shareOf(part)])),
      refused: rejected.requests + rejected.tokens + rejected.concurrency,
    }
  } finally {
    for (const closer of closers.reverse()) await closer()
  }
}
