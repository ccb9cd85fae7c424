import { setTimeout as sleep } from 'node:timers/promises'
import { createLimiter } from '../../simulator/limiter.ts'
import { LIMITS_LIKE, LIMITS_LIKE_NAMES, type LimitsLikeName } from '../../simulator/limits-like.ts'
import { startSluice } from './sluice.ts'
import { sharesDuring } from './timeline.ts'
import { startUpstream } from './upstream.ts'
import { LIMITS, makeCalls } from './workload.ts'

export type WayRow = {
  name: LimitsLikeName
  /** Admitted over the second half-minute, of what this way could admit in it. */
  share: number
  /** 429s from the start to the end. */
  refused: number
}

/** Ways that count a minute as a minute: there no call may be refused. */
export const NEVER_REFUSED: readonly LimitsLikeName[] = ['openai', 'gemini', 'sliding-log']

const HALF_SECONDS = 30
const WORKERS = 2
/** More than the limits let through in the time. */
const COUNT = 2400

/**
 * A minute of more work than the limits allow, in each of six ways of enforcement, with nothing configured but the
 * two numbers.
 */
export async function measureWays(say: (line: string) => void): Promise<WayRow[]> {
  const rows: WayRow[] = []
  for (const name of LIMITS_LIKE_NAMES) {
    say(`Ways: limits like those of ${name}, two workers, for a minute`)
    rows.push(await measureWay(name))
  }
  return rows
}

async function measureWay(name: LimitsLikeName): Promise<WayRow> {
  const closers: (() => Promise<unknown>)[] = []
  try {
    const upstream = await startUpstream({ name: `upstream-${name}`, limitsLike: name })
    closers.push(upstream.close)
    const sluice = await startSluice({ name, upstreamUrl: upstream.url, workers: WORKERS, windowMs: 'auto' })
    closers.push(sluice.close)
    const calls = makeCalls(name, COUNT)
    await sluice.submit('noisy', name, name, calls)
    const from = Math.ceil(Date.now() / 1000)
    await sleep((from + 2 * HALF_SECONDS) * 1000 - Date.now())
    const { timeline, rejected } = await upstream.state()
    const used = sharesDuring(timeline, LIMITS, from + HALF_SECONDS, from + 2 * HALF_SECONDS)
    return {
      name,
      share:
        used.tokens /
        findMost(
          name,
          calls.map(({ tokens }) => tokens),
        ),
      refused: rejected.requests + rejected.tokens + rejected.concurrency,
    }
  } finally {
    for (const closer of closers.reverse()) await closer()
  }
}

/**
 * The share of the tokens that this way admits to a client that knows its counters and sends each call, in order, as
 * soon as it passes. A whole minute's allowance may be used at any time within it: there the rate counts.
 */
function findMost(name: LimitsLikeName, sizes: readonly number[]): number {
  const { enforcement, window } = LIMITS_LIKE[name]
  if (window === 60_000) return 1
  const limiter = createLimiter({ limits: LIMITS, enforcement, window })
  const halfMs = HALF_SECONDS * 1000
  let now = 0
  let admitted = 0
  for (const tokens of sizes) {
    for (let admission = limiter.take(tokens, now); !admission.admitted; ) {
      now += admission.waitMs
      admission = limiter.take(tokens, now)
    }
    if (now >= 2 * halfMs) break
    if (now >= halfMs) admitted += tokens
  }
  return admitted / ((LIMITS.tokens_per_minute * halfMs) / 60_000)
}
