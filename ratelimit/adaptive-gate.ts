import { readFileSync } from 'node:fs'
import type { Cluster, Redis } from 'ioredis'
import type { Lane } from '../config/lanes.ts'
import { type GateLane, laneRoot } from './addresses.ts'
import type { CallTiming } from './concurrency.ts'
import type { Gate } from './gate.ts'

/** How old this process's view of a limit may be, ms. Each call that ends here renews it. */
const FRESH_MS = 1000

type Argument = string | number
type ConcurrencyOptions = {
  redis: Redis | Cluster
  prefix: string
  /** A clock in ms in place of Redis' own, for simulated time. */
  now?: () => number
}

/** How many calls lanes with `max_concurrency: auto` may have under way. One answer for all processes; see concurrency.ts. */
type ConcurrencyControl = {
  /**
   * Hears calls that ended, and answers the limit; without calls it only answers.
   *
   * @param waiting requests that wait inside the server; null: not known
   */
  hear(lane: string, calls: readonly CallTiming[], waiting?: number | null): Promise<number>
}

export function createConcurrencyControl({ redis, prefix, now }: ConcurrencyOptions): ConcurrencyControl {
  const lua = readFileSync(new URL('./lua/adapt.lua', import.meta.url), 'utf8')
  redis.defineCommand('sluiceGate:adapt', { lua, numberOfKeys: 3 })
  const commands = redis as unknown as Record<string, (...args: Argument[]) => Promise<number>>
  return {
    hear(lane, calls, waiting = null) {
      const root = laneRoot(prefix, lane)
      return commands['sluiceGate:adapt']!(
        `${root}concurrency`,
        `${root}permits`,
        `${root}:`, // never there: see lib/script-keys.ts
        now ? now() : '',
        waiting ?? '',
        ...calls.flatMap(({ latencyMs, firstTokenMs, outputTokens, overloaded }) => [
          latencyMs,
          firstTokenMs ?? '',
          outputTokens,
          overloaded ? '1' : '',
        ]),
      )
    },
  }
}

/**
 * The gate, which gives lanes with `max_concurrency: auto` the limit that their calls have found.
 *
 * @param waiting requests that wait inside a lane's server, as far as it tells
 */
export function adaptConcurrency(
  gate: Gate,
  control: ConcurrencyControl,
  waiting: (lane: Lane) => number | null,
): Gate {
  const known = new Map<string, { limit: number; at: number }>()

  function note(lane: string, limit: number): number {
    known.set(lane, { limit, at: performance.now() })
    return limit
  }

  async function withLimit<T extends GateLane>(lane: T): Promise<T> {
    if (!lane.limits.isAdaptive) return lane
    const view = known.get(lane.id)
    const isFresh = view !== undefined && performance.now() - view.at < FRESH_MS
    const limit = isFresh ? view.limit : note(lane.id, await control.hear(lane.id, []))
    return { ...lane, limits: { ...lane.limits, max_concurrency: limit } }
  }

  return {
    ...gate,
    take: async (lane, ...rest) => gate.take(await withLimit(lane), ...rest),
    async settle(lane, settlements) {
      const calls = lane.limits.isAdaptive ? settlements.flatMap(({ timing }) => timing ?? []) : []
      // Before the settlement on the same connection: the calls still count among those under way.
      const heard = calls.length > 0 ? control.hear(lane.id, calls, waiting(lane)) : null
      heard?.then(
        (limit) => note(lane.id, limit),
        () => {},
      )
      await Promise.all([heard, gate.settle(lane, settlements)])
    },
    async read(lane) {
      const [state, { limits }] = await Promise.all([gate.read(lane), withLimit(lane)])
      return limits.isAdaptive ? { ...state, learnedConcurrency: limits.max_concurrency ?? null } : state
    },
    async forget(lane) {
      known.delete(lane.id)
      await gate.forget(lane)
    },
  }
}
