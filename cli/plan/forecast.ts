import type { LaneLimits } from '../../config/lanes.ts'
import type { LaneView } from '../lane-view.ts'
import type { CheapTier, LaneLoad } from './estimate.ts'

/** The duration of a lane's load in seconds, and the limit that determines it; null: no known limit applies. */
export type LaneForecast = { seconds: number | null; boundBy: string | null; backlogSeconds: number | null }

type Time = [name: string, seconds: number | null]
type Amounts = Pick<LaneLoad, 'calls' | 'tokens' | 'inputTokens' | 'outputTokens' | 'images' | 'audioSeconds'>
type Rates = Record<'requests' | Exclude<keyof Amounts, 'calls'>, number | null>

const DAY_SECONDS = 86_400

/** The latest end of a load at each tier, in seconds from now. A tier that the lane does not have counts as standard. */
export function forecastTiers(
  { tiers }: Pick<LaneLoad['lane'], 'tiers'>,
  { seconds, backlogSeconds }: Pick<LaneForecast, 'seconds' | 'backlogSeconds'>,
): Record<'standard' | CheapTier, number> {
  const standard = (seconds ?? 0) + (backlogSeconds ?? 0)
  return {
    standard,
    // Jobs without a flex answer by then are sent at standard.
    flex: standard + (tiers?.flex?.fall_back_after ?? 0) / 1000,
    // Providers promise a day.
    batch: tiers?.batch == null ? standard : Math.max(standard, DAY_SECONDS),
  }
}

/**
 * The time that a load takes at the lane's rates. If a server was asked, these are its current rates, with what it learned and its backlog;
 * otherwise the configured limits times their headroom. Further work of others is not considered.
 *
 * @param all the loads of all lanes, including this one, for shared limits
 */
export function forecastLane(
  load: LaneLoad,
  view: LaneView | null,
  all: readonly LaneLoad[] = [load],
): LaneForecast {
  const { limits, provider, shared = [] } = load.lane
  const rates = findRates(limits, view)
  const times: Time[] = [
    ...timesOf(load, rates, limits.requests_per_day),
    ['concurrency', waitForSlots(load, view)],
    // All lanes with a shared limit use it up together.
    ...shared.flatMap(({ name, limits: common }) => {
      const together = sumLoads(
        all.filter(
          ({ lane }) => lane.provider === provider && (lane.shared ?? []).some((one) => one.name === name),
        ),
      )
      const seen = view?.shared_limits?.find((one) => one.name === name) ?? null
      return timesOf(together, findRates(common, seen), common.requests_per_day).map(
        ([what, seconds]): Time => [`${what} of ${name}`, seconds],
      )
    }),
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

/** Rates per second. */
function findRates(limits: LaneLimits, view: Pick<LaneView, 'rates' | 'speed'> | null): Rates {
  const rate = (own: number | undefined, seen: number | null | undefined): number | null => {
    const perMinute = view === null ? (own === undefined ? null : own * limits.headroom) : (seen ?? null)
    return perMinute === null ? null : (perMinute * (view?.speed ?? 1)) / 60
  }
  // Servers report audio and images as input and output tokens, because no lane counts both.
  const hears = limits.audio_seconds_per_minute !== undefined
  const paints = limits.images_per_minute !== undefined
  const input = (own: number | undefined) => rate(own, view?.rates.input_tokens)
  const output = (own: number | undefined) => rate(own, view?.rates.output_tokens)
  return {
    requests: rate(limits.requests_per_minute, view?.rates.requests),
    tokens: rate(limits.tokens_per_minute, view?.rates.tokens),
    ...(hears
      ? { inputTokens: null, audioSeconds: input(limits.audio_seconds_per_minute) }
      : { inputTokens: input(limits.input_tokens_per_minute), audioSeconds: null }),
    ...(paints
      ? { outputTokens: null, images: output(limits.images_per_minute) }
      : { outputTokens: output(limits.output_tokens_per_minute), images: null }),
  }
}

function timesOf(load: Amounts, rates: Rates, perDay: number | undefined): Time[] {
  return [
    ['requests', divide(load.calls, rates.requests)],
    ['tokens', divide(load.tokens, rates.tokens)],
    ['input tokens', divide(load.inputTokens, rates.inputTokens)],
    ['output tokens', divide(load.outputTokens, rates.outputTokens)],
    ['images', divide(load.images, rates.images)],
    ['seconds of sound', divide(load.audioSeconds, rates.audioSeconds)],
    ['requests a day', daysFor(load.calls, perDay)],
  ]
}

function sumLoads(loads: readonly LaneLoad[]): Amounts {
  const sum: Amounts = { calls: 0, tokens: 0, inputTokens: 0, outputTokens: 0, images: 0, audioSeconds: 0 }
  for (const load of loads) {
    sum.calls += load.calls
    sum.tokens += load.tokens
    sum.inputTokens += load.inputTokens
    sum.outputTokens += load.outputTokens
    sum.images += load.images
    sum.audioSeconds += load.audioSeconds
  }
  return sum
}

/** Days to wait: the requests of a day run as fast as the other limits allow, and the rest waits for the next day. */
function daysFor(calls: number, perDay: number | undefined): number | null {
  if (perDay === undefined) return null
  return Math.max(0, Math.ceil(calls / perDay) - 1) * DAY_SECONDS
}

/** Only known if a server has measured how long calls take. */
function waitForSlots({ lane, calls }: LaneLoad, view: LaneView | null): number | null {
  const slots = lane.limits.max_concurrency
  const latency = view?.latency_ms.p50 ?? null
  return slots === undefined || latency === null ? null : (Math.ceil(calls / slots) * latency) / 1000
}

/** Assumes that waiting jobs are similar to the latest ones. */
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
