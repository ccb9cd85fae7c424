import type { Lane, LaneSource } from '../../config/lanes.ts'
import { sourceOfPermit } from '../../ratelimit/addresses.ts'
import { createLimiter } from '../../simulator/limiter.ts'
import { createRandom } from '../../simulator/random.ts'
import { laneWith, type Subject } from './ratelimit-subjects.ts'
import { LIMITS, sizesOf } from './ratelimit-ways.ts'

const FROM_MS = 62_000
const TO_MS = 122_000
const WORKERS = 2
/** A worker asks for so many calls at a time. */
const AT_ONCE = 8

/**
 * A saturated lane whose sources have these shares of the limits, with calls of 40 to 880 tokens, at a provider that counts every
 * source's minute to the millisecond: what it admits of the sum in the second minute, and how often it refuses in all.
 */
export async function runSourceMix(
  subject: Subject,
  shares: readonly number[],
  seed: number,
): Promise<{ share: number; refused: number }> {
  const random = createRandom(seed)
  const sizes = sizesOf(createRandom(seed + 1))
  const limitsOf = (share: number) => ({
    requests_per_minute: LIMITS.requests_per_minute * share,
    tokens_per_minute: LIMITS.tokens_per_minute * share,
  })
  const lane: Lane & { sources: LaneSource[] } = {
    ...laneWith(LIMITS),
    sources: shares.map((share, index) => ({
      ...{ name: `s${index}`, weight: 1, model: 'm', mark: 'k' },
      limits: { window: 60_000, headroom: 0.99, ...limitsOf(share) },
    })),
  }
  const limiters = new Map(
    shares.map((share, index) => [
      `s${index}`,
      createLimiter({ limits: limitsOf(share), enforcement: 'window', window: 60_000 }),
    ]),
  )
  const start = subject.clock.now
  const retries: number[] = []
  const events: { at: number; run: () => Promise<void> | void }[] = []
  const at = (time: number, run: () => Promise<void> | void) => {
    let index = events.length
    while (index > 0 && events[index - 1]!.at > time) index--
    events.splice(index, 0, { at: time, run })
  }
  const tallies = { tokens: 0, refused: 0 }
  const arrive = (permit: string, tokens: number) => {
    const { now } = subject.clock
    const limiter = limiters.get(sourceOfPermit(permit)!)!
    const admission = limiter.take(tokens, now)
    const { requests, tokens: tokenLevel } = limiter.levels(now)
    const settlement = {
      permit,
      actual: { requests: 1, tokens, inputTokens: tokens, outputTokens: 0 },
      feedback: {
        ...{ limitRequests: requests!.limit, limitTokens: tokenLevel!.limit },
        ...{ remainingRequests: requests!.remaining, remainingTokens: tokenLevel!.remaining },
      },
    }
    if (admission.admitted) {
      if (now - start >= FROM_MS) tallies.tokens += tokens
      at(now + 150 + random() * 300, () => subject.gate.settle(lane, [{ ...settlement, outcome: 'ok' }]))
      return
    }
    tallies.refused++
    retries.push(tokens)
    const throttledMs = admission.waitMs
    at(now + 10, () => subject.gate.settle(lane, [{ ...settlement, throttledMs }]))
  }
  const ask = async (held: number[]): Promise<void> => {
    while (held.length < AT_ONCE) held.push(retries.shift() ?? (sizes.next().value as number))
    const requests = held.map((tokens) => ({
      cost: { requests: 1, tokens, inputTokens: tokens, outputTokens: 0 },
    }))
    const { permits, waitMs } = await subject.gate.take(lane, requests)
    for (const permit of permits) {
      const tokens = held.shift()!
      at(subject.clock.now + random() * 20, () => arrive(permit, tokens))
    }
    at(subject.clock.now + Math.max(1, waitMs) + random() * 3, () => ask(held))
  }
  for (let worker = 0; worker < WORKERS; worker++) at(start + worker, () => ask([]))
  while (events.length > 0 && events[0]!.at < start + TO_MS) {
    const event = events.shift()!
    subject.clock.now = Math.max(subject.clock.now, event.at)
    await event.run()
  }
  const granted = shares.reduce((sum, share) => sum + share, 0) * LIMITS.tokens_per_minute
  return { share: tallies.tokens / granted, refused: tallies.refused }
}
