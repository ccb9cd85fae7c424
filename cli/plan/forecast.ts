import type { LaneView } from '../lanes.ts'
import type { LaneLoad } from './estimate.ts'

/** How long a lane's load takes, and which limit makes it so. Seconds; null: nothing known limits it. */
export type LaneForecast = { seconds: number | null; boundBy: string | null; backlogSeconds: number | null }

const DAY_SECONDS = 86_400

/**
 * The time that a load takes at the lane's rates: those of a server that was asked, what it learned and its present
 * backlog included, or else the configured limits times their headroom. Nobody else's further work is foreseen.
 */
export function forecastLane(load: LaneLoad, view: LaneView | null): LaneForecast {
  const { limits } = load.lane
  const speed = view?.speed ?? 1
  const rate = (own: number | undefined, seen: number | null | undefined): number | null => {
    const perMinute = view === null ? (own === undefined ? null : own * limits.headroom) : (seen ?? null)
    return perMinute === null ? null : (perMinute * speed) / 60
  }
  const rates = {
    requests: rate(limits.requests_per_minute, view?.rates.requests),
    tokens: rate(limits.tokens_per_minute, view?.rates.tokens),
  }
  const times: [name: string, seconds: number | null][] = [
    ['requests', divide(load.calls, rates.requests)],
    ['tokens', divide(load.tokens, rates.tokens)],
    [
      'input tokens',
      divide(load.inputTokens, rate(limits.input_tokens_per_minute, view?.rates.input_tokens)),
    ],
    [
      'output tokens',
      divide(load.outputTokens, rate(limits.output_tokens_per_minute, view?.rates.output_tokens)),
    ],
    ['requests a day', daysFor(load.calls, limits.requests_per_day)],
    ['concurrency', waitForSlots(load, view)],
  ]
  let seconds: number | null = null
  let boundBy: string | null = null
  for (const [name, needed] of times) {
    if (needed === null || (seconds !== null && needed <= seconds)) continue
    seconds = needed
    boundBy = name
  }
  return { seconds, boundBy, backlogSeconds: view === null ? null : clearBacklog(view, rates) }
}

/** The day's requests go as fast as the others allow; what is over waits for the next day. */
function daysFor(calls: number, perDay: number | undefined): number | null {
  if (perDay === undefined) return null
  return Math.max(0, Math.ceil(calls / perDay) - 1) * DAY_SECONDS
}

/** Known only where a server has seen how long calls take. */
function waitForSlots({ lane, calls }: LaneLoad, view: LaneView | null): number | null {
  const slots = lane.limits.max_concurrency
  const latency = view?.latency_ms.p50 ?? null
  return slots === undefined || latency === null ? null : (Math.ceil(calls / slots) * latency) / 1000
}

/** What waits is taken to be like what left last. */
function clearBacklog(
  { backlog, used }: LaneView,
  rates: { requests: number | null; tokens: number | null },
): number {
  const waiting = backlog.waiting + backlog.held
  const tokensEach = used.requests && used.tokens ? used.tokens / used.requests : 0
  return Math.max(divide(waiting, rates.requests) ?? 0, divide(waiting * tokensEach, rates.tokens) ?? 0)
}

function divide(amount: number, perSecond: number | null): number | null {
  return perSecond === null ? null : amount / perSecond
}
