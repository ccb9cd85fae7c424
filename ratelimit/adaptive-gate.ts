import { readFileSync } from 'node:fs'
import type { Cluster, Redis } from 'ioredis'
import type { Lane, LaneLimits } from '../config/lanes.ts'
import { type GateLane, laneRoot, sourceOfPermit, sourceRoot } from './addresses.ts'
import type { CallTiming } from './concurrency.ts'
import type { Gate, Settlement } from './gate.ts'

/** How old this process's copy of a limit may be, ms. Each call that ends here renews it. */
const FRESH_MS = 1000

type Argument = string | number
type ConcurrencyOptions = {
  redis: Redis | Cluster
  prefix: string
  /** A clock in ms in place of Redis' own, for simulated time. */
  now?: () => number
}

/** Decides how many calls of a lane with `max_concurrency: auto` may run. All processes get the same answer; see concurrency.ts. */
type ConcurrencyControl = {
  /** Learns from a report about the server, and answers its limit. A report without calls only reads the limit. */
  hear(server: Server, report: ServerReport): Promise<number>
}

/** The server of a lane, or of one of its sources; `source` is null where the lane has none. */
type Server = { lane: string; source: string | null }

/** Calls that ended, and how many requests wait inside the server; null: unknown. */
type ServerReport = { calls: readonly CallTiming[]; waiting: number | null }

/** The arguments of `lua/adapt.lua`: the time in ms ('' Redis' clock), requests that wait ('' unknown), then four for each call. */
function encodeReport(now: number | '', { calls, waiting }: ServerReport): Argument[] {
  const args: Argument[] = [now, waiting ?? '']
  for (const { latencyMs, firstTokenMs, outputTokens, overloaded } of calls)
    args.push(latencyMs, firstTokenMs ?? '', outputTokens, overloaded ? '1' : '')
  return args
}

export function createConcurrencyControl({ redis, prefix, now }: ConcurrencyOptions): ConcurrencyControl {
  const lua = readFileSync(new URL('./lua/adapt.lua', import.meta.url), 'utf8')
  redis.defineCommand('sluiceGate:adapt', { lua, numberOfKeys: 3 })
  const commands = redis as unknown as Record<string, (...args: Argument[]) => Promise<number>>
  return {
    hear({ lane, source }, report) {
      const root = source === null ? laneRoot(prefix, lane) : sourceRoot(prefix, lane, source)
      return commands['sluiceGate:adapt']!(
        `${root}concurrency`,
        `${root}permits`,
        `${root}:`, // never exists: see lib/script-keys.ts
        ...encodeReport(now ? now() : '', report),
      )
    },
  }
}

/**
 * The gate, with the learned limit for lanes and sources with `max_concurrency: auto`.
 *
 * @param waiting requests that wait inside the server of a lane without sources; null: the server does not tell
 */
export function adaptConcurrency(
  gate: Gate,
  control: ConcurrencyControl,
  waiting: (lane: Lane) => number | null,
): Gate {
  const known = new Map<string, { limit: number; at: number }>()
  const keyOf = (lane: string, source: string | null) => (source === null ? lane : `${source}\n${lane}`)

  function note(lane: string, source: string | null, limit: number): number {
    known.set(keyOf(lane, source), { limit, at: performance.now() })
    return limit
  }

  async function findLimits(lane: string, source: string | null, limits: LaneLimits): Promise<LaneLimits> {
    if (!limits.isAdaptive) return limits
    const view = known.get(keyOf(lane, source))
    const isFresh = view !== undefined && performance.now() - view.at < FRESH_MS
    if (isFresh) return { ...limits, max_concurrency: view.limit }
    const limit = await control.hear({ lane, source }, { calls: [], waiting: null })
    return { ...limits, max_concurrency: note(lane, source, limit) }
  }

  async function withLimit<T extends GateLane>(lane: T): Promise<T> {
    if (!lane.limits.isAdaptive) return lane
    if (lane.sources === undefined) return { ...lane, limits: await findLimits(lane.id, null, lane.limits) }
    const sources = await Promise.all(
      lane.sources.map(async (one) => ({ ...one, limits: await findLimits(lane.id, one.name, one.limits) })),
    )
    return { ...lane, sources }
  }

  /** Reports the ended calls before their settlement, on the same connection, so that they still count as running. */
  function hear(lane: Lane, settlements: readonly Settlement[]): Promise<unknown>[] {
    if (!lane.limits.isAdaptive) return []
    const heard = settlements.flatMap(({ permit, timing }) =>
      timing === undefined ? [] : [{ source: sourceOfPermit(permit), timing }],
    )
    return [...Map.groupBy(heard, ({ source }) => source)].map(([source, calls]) => {
      const answer = control.hear(
        { lane: lane.id, source },
        {
          calls: calls.map(({ timing }) => timing),
          waiting: source === null ? waiting(lane) : null,
        },
      )
      answer.then(
        (limit) => note(lane.id, source, limit),
        () => {},
      )
      return answer
    })
  }

  return {
    ...gate,
    take: async (lane, requests) => gate.take(await withLimit(lane), requests),
    prepareTake: async (lane, cost, permitMs) => gate.prepareTake(await withLimit(lane), cost, permitMs),
    async settle(lane, settlements) {
      await Promise.all([...hear(lane, settlements), gate.settle(lane, settlements)])
    },
    async read(lane) {
      const [state, { limits, sources }] = await Promise.all([gate.read(lane), withLimit(lane)])
      if (!limits.isAdaptive) return state
      if (sources === undefined) return { ...state, learnedConcurrency: limits.max_concurrency ?? null }
      const each = sources.map((one) => one.limits.max_concurrency ?? null)
      return {
        ...state,
        learnedConcurrency: each.reduce((sum, one) => (sum === null || one === null ? null : sum + one), 0),
        sources: state.sources.map((one, index) => ({
          ...one,
          learnedConcurrency: sources[index]?.limits.isAdaptive ? (each[index] ?? null) : null,
        })),
      }
    },
    async forget(lane) {
      for (const source of [null, ...(lane.sources ?? []).map(({ name }) => name)])
        known.delete(keyOf(lane.id, source))
      await gate.forget(lane)
    },
  }
}
