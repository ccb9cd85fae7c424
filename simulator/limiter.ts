import type { Enforcement } from './limits-like.ts'
import type { SimulatedLimits } from './options.ts'

/** The state of a limit: the limit per minute, what is used and left of one window's allowance, and the ms until it is whole again. */
export type Level = { limit: number; used: number; remaining: number; resetMs: number }

export type Admission =
  | { admitted: true }
  /** `waitMs`: Infinity for a call larger than the whole allowance. */
  | { admitted: false; by: Counted; waitMs: number; used: number }

export type Counted = 'requests' | 'tokens' | 'images' | 'audio_seconds'

/** What a call takes besides requests and tokens. */
export type MediaCost = { images: number; audioSeconds: number }
const NO_MEDIA: MediaCost = { images: 0, audioSeconds: 0 }

/** Enforces the limits of one model. Times are Unix ms. */
export type Limiter = {
  /** Checks whether a call would be admitted, without taking anything. */
  check(tokens: number, now: number, media?: MediaCost): Admission
  /** Takes one request, its tokens and its media, or nothing. */
  take(tokens: number, now: number, media?: MediaCost): Admission
  /** Returns tokens (negative: takes more) for a call that was admitted at `takenAt`. */
  refund(tokens: number, takenAt: number, now: number): void
  levels(now: number): { requests: Level | null; tokens: Level | null }
}

/** The counter of one dimension. */
type Gauge = {
  /** Milliseconds until `amount` fits; 0: now. */
  wait(amount: number, now: number): number
  add(amount: number, now: number): void
  refund(amount: number, takenAt: number, now: number): void
  level(now: number): Level
}

export type LimiterOptions = { limits: SimulatedLimits; enforcement: Enforcement; window: number }

const BUILDERS = { bucket: createBucket, window: createWindow, fixed: createFixedWindow }

/** Enforces limits per minute strictly, in one of the ways of limits-like.ts. */
export function createLimiter(options: LimiterOptions): Limiter {
  const build = BUILDERS[options.enforcement]
  const gauge = (limit: number | undefined) =>
    limit === undefined ? null : build(limit, Math.max(1, (limit * options.window) / 60_000), options.window)
  const requests = gauge(options.limits.requests_per_minute)
  const tokens = gauge(options.limits.tokens_per_minute)

  const images = gauge(options.limits.images_per_minute)
  const sound = gauge(options.limits.audio_seconds_per_minute)

  function check(amount: number, now: number, media = NO_MEDIA): Admission {
    const requestWait = requests?.wait(1, now) ?? 0
    if (requestWait > 0) return refuse('requests', requestWait, requests, now)
    const tokenWait = tokens?.wait(amount, now) ?? 0
    if (tokenWait > 0) return refuse('tokens', tokenWait, tokens, now)
    const imageWait = (media.images > 0 && images?.wait(media.images, now)) || 0
    if (imageWait > 0) return refuse('images', imageWait, images, now)
    const soundWait = (media.audioSeconds > 0 && sound?.wait(media.audioSeconds, now)) || 0
    if (soundWait > 0) return refuse('audio_seconds', soundWait, sound, now)
    return { admitted: true }
  }

  return {
    check,
    take(amount, now, media = NO_MEDIA) {
      const admission = check(amount, now, media)
      if (!admission.admitted) return admission
      requests?.add(1, now)
      tokens?.add(amount, now)
      images?.add(media.images, now)
      sound?.add(media.audioSeconds, now)
      return admission
    },
    refund: (amount, takenAt, now) => tokens?.refund(amount, takenAt, now),
    levels: (now) => ({ requests: requests?.level(now) ?? null, tokens: tokens?.level(now) ?? null }),
  }
}

function refuse(by: Counted, waitMs: number, gauge: Gauge | null, now: number): Admission {
  const level = gauge?.level(now)
  return { admitted: false, by, waitMs, used: level?.used ?? 0 }
}

/** Refills continuously up to one window's allowance; starts full. */
function createBucket(limit: number, capacity: number): Gauge {
  const perMs = limit / 60_000
  let level = capacity
  let at: number | null = null

  function refill(now: number): void {
    // If the clock steps back, nothing is refilled and nothing is taken away.
    if (at !== null && now > at) level = Math.min(capacity, level + (now - at) * perMs)
    at = Math.max(at ?? now, now)
  }

  return {
    wait(amount, now) {
      refill(now)
      if (amount > capacity) return Number.POSITIVE_INFINITY
      // Allows a tolerance of 1e-9, because sums of fractions fall short of whole numbers.
      return level + 1e-9 >= amount ? 0 : Math.max(1, Math.ceil((amount - level) / perMs))
    },
    add(amount, now) {
      refill(now)
      level -= amount
    },
    refund(amount, _takenAt, now) {
      refill(now)
      level = Math.min(capacity, level + amount)
    },
    level(now) {
      refill(now)
      const used = capacity - level
      return {
        limit,
        used: Math.ceil(used),
        remaining: Math.floor(level + 1e-9),
        resetMs: Math.ceil(used / perMs),
      }
    },
  }
}

/** A sliding window: counts what was taken within the last window, to the millisecond. Starts empty. */
function createWindow(limit: number, allowance: number, window: number): Gauge {
  let times: number[] = []
  let amounts: number[] = []
  let head = 0
  let sum = 0

  function forget(now: number): void {
    while (head < times.length && times[head]! <= now - window) {
      sum -= amounts[head]!
      head += 1
    }
    if (head > 1024 && head * 2 > times.length) {
      times = times.slice(head)
      amounts = amounts.slice(head)
      head = 0
    }
  }

  return {
    wait(amount, now) {
      forget(now)
      if (amount > allowance) return Number.POSITIVE_INFINITY
      if (sum + amount <= allowance) return 0
      let left = sum
      for (let index = head; index < times.length; index += 1) {
        left -= amounts[index]!
        if (left + amount <= allowance) return Math.max(1, times[index]! + window - now)
      }
      return window
    },
    add(amount, now) {
      forget(now)
      times.push(now)
      amounts.push(amount)
      sum += amount
    },
    refund(amount, takenAt, now) {
      forget(now)
      const index = times.indexOf(takenAt, head)
      if (index === -1) return
      amounts[index]! -= amount
      sum -= amount
    },
    level(now) {
      forget(now)
      const last = times.length > head ? times[times.length - 1]! : now - window
      const remaining = Math.max(0, Math.floor(allowance - sum))
      return { limit, used: sum, remaining, resetMs: Math.max(0, last + window - now) }
    },
  }
}

/** A fixed window: counts what was taken in the current window of the clock. A window of a minute ends with the minute. */
function createFixedWindow(limit: number, allowance: number, window: number): Gauge {
  let start = Number.NEGATIVE_INFINITY
  let sum = 0

  function roll(now: number): void {
    const current = Math.floor(now / window) * window
    if (current <= start) return
    start = current
    sum = 0
  }

  return {
    wait(amount, now) {
      roll(now)
      if (amount > allowance) return Number.POSITIVE_INFINITY
      return sum + amount <= allowance ? 0 : Math.max(1, start + window - now)
    },
    add(amount, now) {
      roll(now)
      sum += amount
    },
    refund(amount, takenAt, now) {
      roll(now)
      if (takenAt >= start) sum -= amount
    },
    level(now) {
      roll(now)
      const remaining = Math.max(0, Math.floor(allowance - sum))
      return { limit, used: sum, remaining, resetMs: Math.max(0, start + window - now) }
    },
  }
}

/** Formats a duration like OpenAI in `x-ratelimit-reset-*`: `120ms`, `1.5s`, `1m12.5s`, `2h0m3s`. */
export function formatReset(milliseconds: number): string {
  if (milliseconds < 1000) return `${Math.ceil(milliseconds)}ms`
  const hours = Math.floor(milliseconds / 3_600_000)
  const minutes = Math.floor((milliseconds % 3_600_000) / 60_000)
  const seconds = Math.round(milliseconds % 60_000) / 1000
  return `${hours > 0 ? `${hours}h` : ''}${hours > 0 || minutes > 0 ? `${minutes}m` : ''}${seconds}s`
}
