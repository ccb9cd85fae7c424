import type { Lane } from '../config/lanes.ts'
import type { Held } from '../jobs/queue-entry.ts'
import type { Cost } from '../ratelimit/gate.ts'

/** Entries that will share one provider request. */
export type PlannedCall = { held: Held[]; cost: Cost }

/** A prefetched entry. `since`: when it was fetched, by `performance.now`. */
export type Prefetched = { held: Held; since: number }

export type Plan = {
  /** Calls that are ready to ask for a permit, oldest first. */
  ready: PlannedCall[]
  /**
   * When the first of the other calls is ready even if it is not full, by the clock of `since`; null: there are none.
   */
  readyAt: number | null
}

/** While other calls of the lane are under way, a request may gather this many times `max_wait`. */
const BUSY_FACTOR = 10

/**
 * Groups the prefetched entries into provider requests. A lane without `coalesce` sends each entry alone. Otherwise
 * entries with the same key share a request until it is full by inputs or tokens. A request that is not full is ready
 * when its oldest entry has waited `max_wait`, or ten times that while another call of this lane is under way here. The
 * end of that call makes it ready earlier, and the entries that have gathered are sent together (Nagle, RFC 896).
 * Entries whose request failed share only with one another, and fewer of them each time, until the cause is alone.
 *
 * @param isParted no two tenants share a request, because the breaker looks at the tenant
 * @param cachedOf input tokens of an entry that the provider will not count, because its prompt cache has them
 */
export function planCalls(
  hand: readonly Prefetched[],
  lane: Lane,
  inFlight: number,
  now: number,
  isParted = false,
  cachedOf: (held: Held) => number = () => 0,
): Plan {
  const { coalesce } = lane
  const ready: PlannedCall[] = []
  if (!coalesce) {
    for (const { held } of hand) ready.push({ held: [held], cost: leaveOut(costOf([held]), cachedOf(held)) })
    return { ready, readyAt: null }
  }

  const open = new Map<string, { held: Held[]; inputs: number; tokens: number; since: number }>()
  for (const { held, since } of hand) {
    const { apart } = held
    if (held.cost.coalesceKey === null || apart === 1) {
      ready.push({ held: [held], cost: costOf([held]) })
      continue
    }
    const key = JSON.stringify([held.cost.coalesceKey, apart, isParted ? held.tenant : null])
    let group = open.get(key)
    const fits =
      group !== undefined &&
      group.held.length < (apart ?? Number.POSITIVE_INFINITY) &&
      group.inputs + held.cost.inputs <= coalesce.max_inputs &&
      group.tokens + held.cost.tokens <= coalesce.max_tokens
    if (group !== undefined && !fits) {
      ready.push({ held: group.held, cost: costOf(group.held) })
      group = undefined
    }
    if (group === undefined) {
      group = { held: [], inputs: 0, tokens: 0, since }
      open.set(key, group)
    }
    group.held.push(held)
    group.inputs += held.cost.inputs
    group.tokens += held.cost.tokens
  }

  const patience = coalesce.max_wait * (inFlight > 0 ? BUSY_FACTOR : 1)
  let readyAt: number | null = null
  for (const group of open.values()) {
    const full = group.inputs >= coalesce.max_inputs || group.tokens >= coalesce.max_tokens
    if (full || now >= group.since + patience) ready.push({ held: group.held, cost: costOf(group.held) })
    else readyAt = Math.min(readyAt ?? Number.POSITIVE_INFINITY, group.since + patience)
  }
  return { ready, readyAt }
}

/** The cost without the input that does not count against the limits. A call takes at least one token. */
function leaveOut(cost: Cost, cached: number): Cost {
  const left = Math.min(cached, Math.max(0, cost.inputTokens - 1))
  return left === 0
    ? cost
    : { ...cost, tokens: Math.max(1, cost.tokens - left), inputTokens: cost.inputTokens - left }
}

/** The tenant of a request with these entries; '' when several tenants share it. */
export function tenantOf(held: readonly Held[]): string {
  const tenant = held[0]?.tenant ?? ''
  return held.every((one) => one.tenant === tenant) ? tenant : ''
}

/** The source to which a request with these entries has to go; '': any source. */
export function boundTo(held: readonly Pick<Held, 'cost'>[]): string {
  return held[0]?.cost.source ?? ''
}

/** Whether a call has to go to one particular source of a lane that has several. */
export function isBound({ sources }: Lane, { held }: Pick<PlannedCall, 'held'>): boolean {
  const bound = boundTo(held)
  return sources !== undefined && sources.length > 1 && sources.some(({ name }) => name === bound)
}

/** What a request with these entries takes from its lane. */
export function costOf(held: readonly Pick<Held, 'cost'>[]): Cost {
  const cost: Cost = { requests: 1, tokens: 0, inputTokens: 0, outputTokens: 0 }
  for (const one of held) {
    cost.tokens += one.cost.tokens
    cost.inputTokens += one.cost.inputTokens
    cost.outputTokens += one.cost.outputTokens
    if (one.cost.images) cost.images = (cost.images ?? 0) + one.cost.images
    if (one.cost.audioSeconds) cost.audioSeconds = (cost.audioSeconds ?? 0) + one.cost.audioSeconds
  }
  return cost
}
