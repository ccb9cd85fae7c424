import type { Lane, LaneLimits, LaneSource } from '../../config/lanes.ts'
import { createRedis } from '../../lib/redis.ts'
import { boundsOf, type GateLane } from '../../ratelimit/addresses.ts'
import { composeState } from '../../ratelimit/compose-state.ts'
import { createGate } from '../../ratelimit/create-gate.ts'
import type { Cost, Gate } from '../../ratelimit/gate.ts'
import { STANDARD } from '../../ratelimit/lane-state.ts'
import { toBooking, toPause } from '../../ratelimit/settle-script.ts'
import { toAmounts, toTakeAnswer } from '../../ratelimit/take-script.ts'
import { testRedis } from '../helpers/redis.ts'
import type { Bucket, BucketState } from '../model/ratelimit/bucket.ts'
import { createBucket, pause, read, renew, resume, retry } from '../model/ratelimit/bucket.ts'
import { settle } from '../model/ratelimit/settle.ts'
import { take } from '../model/ratelimit/take.ts'

/** A gate on simulated time. `clock.now` is what the server's clock shows, ms. */
export type Subject = { gate: Gate; clock: { now: number } }
type SubjectOptions = { leaseMs?: number; random?: () => number }
export type Maker = { create(options?: SubjectOptions): Subject; close(): void }

const START = Date.UTC(2026, 10, 23)

/** Makes gates over the scripts, each with keys of its own, on one connection to the shared Redis. */
export function makeLua(): Maker {
  const place = testRedis()
  const redis = createRedis({ ...place, role: 'bullmq', name: 'test-gate' })
  let made = 0
  return {
    create(options) {
      const clock = { now: START }
      made++
      return {
        clock,
        gate: createGate({
          redis,
          prefix: `${place.prefix}:${made}`,
          random: () => 0,
          ...options,
          now: () => clock.now,
        }),
      }
    },
    close() {
      redis.disconnect()
    },
  }
}

/** Makes gates over the pure arithmetic. */
export function makeTwin(): Maker {
  return {
    create({ leaseMs = 30_000, random = () => 0 } = {}) {
      const clock = { now: START }
      return { clock, gate: createTwinGate({ leaseMs, random, now: () => clock.now }) }
    },
    close() {},
  }
}

function createTwinGate({
  leaseMs,
  random,
  now,
}: {
  leaseMs: number
  random: () => number
  now: () => number
}): Gate {
  const states = new Map<string, BucketState>()
  const find = (name: string, { window }: LaneLimits): BucketState => {
    const state = states.get(name) ?? createBucket(window, now())
    states.set(name, state)
    return state
  }
  const bucketsOf = (lane: GateLane): Bucket[] => {
    const { id, shared = [], sources = [] } = lane
    const limits = boundsOf(lane)
    return [
      { state: find(`lane ${id}`, limits), limited: limits },
      ...shared.map((one) => ({ state: find(`shared ${one.name}`, one.limits), limited: one.limits })),
      ...sources.map((source) => {
        const state = find(`source ${source.name} ${id}`, source.limits)
        openOther(state, source)
        return { state, limited: source.limits, source }
      }),
    ]
  }
  // A source stays shut only for the same key and address. A read opens it too, as a take does.
  const openOther = (state: BucketState | undefined, { mark }: LaneSource): void => {
    if (state?.shut && state.shut.mark !== mark) state.shut = null
  }
  return {
    // Only for the store: a state in memory has no keys.
    async forget() {},
    async prepareTake() {
      throw new Error('only for scripts')
    },
    async take(lane, requests) {
      if (requests.length === 0) return toTakeAnswer({ permits: [], waitMs: 0, waitingFor: null })
      const calls = requests.map(({ cost, tenant = '', source = '', tier = STANDARD }) => ({
        cost: toAmounts(cost),
        caller: { tenant, source, tier },
      }))
      return toTakeAnswer(take(bucketsOf(lane), calls, { leaseMs, serverNow: now() }))
    },
    async settle(lane, settlements) {
      if (settlements.length === 0) return
      const bookings = settlements.map((settlement) => toBooking(settlement, random))
      settle(bucketsOf(lane), bookings, now())
    },
    async renew(lane, permits) {
      if (permits.length === 0) return
      for (const { state, limited } of bucketsOf(lane))
        renew(state, limited, { permits, leaseMs, serverNow: now() })
    },
    async pause(lane, forMs, reason) {
      const [{ state, limited }] = bucketsOf({
        ...lane,
        shared: [],
        ...(lane.sources ? { sources: [] } : {}),
      }) as [Bucket]
      pause(state, limited, { forMs: toPause(forMs), reason, serverNow: now() })
    },
    async resume(lane) {
      for (const { state, limited } of bucketsOf(lane)) resume(state, limited, now())
    },
    async retry(lane, count, tenant = '') {
      const limits = boundsOf(lane)
      return count > 0
        ? retry(find(`lane ${lane.id}`, limits), limits, { count, tenant, serverNow: now() })
        : []
    },
    async read(lane) {
      // Reading does not make a bucket a used one.
      const show = (name: string, limits: LaneLimits) =>
        read(states.get(name) ?? createBucket(limits.window, now()), limits, now())
      const { id, shared = [], sources = [] } = lane
      for (const source of sources) openOther(states.get(`source ${source.name} ${id}`), source)
      return composeState(
        show(`lane ${id}`, boundsOf(lane)),
        shared.map(({ name, limits }) => ({ name, ...show(`shared ${name}`, limits) })),
        sources.map(({ name, limits }) => ({ name, ...show(`source ${name} ${id}`, limits) })),
      )
    },
  }
}

/** A lane with these limits, counted by the minute at 99% unless they say otherwise. */
export function laneWith(limits: Partial<LaneLimits>): Lane {
  return {
    id: 'provider/model',
    provider: 'provider',
    model: 'model',
    kind: 'openai-compatible',
    onUnsupported: 'refuse',
    limits: { window: 60_000, headroom: 0.99, ...limits },
    timeout: 60_000,
    retry: { max_attempts: 6, base: 500, cap: 60_000 },
    price: { input: 0, output: 0 },
    coalesce: null,
  }
}

/** A call of so many tokens, a quarter of them output. */
export function callOf(tokens: number): Cost {
  const outputTokens = Math.floor(tokens / 4)
  return { requests: 1, tokens, inputTokens: tokens - outputTokens, outputTokens }
}
