import type { Leases, Lock } from '../jobs/leases.ts'
import type { GateLane } from '../ratelimit/addresses.ts'
import type { Gate } from '../ratelimit/gate.ts'
import { createHoldings, type Holding, type Holdings, readHolding } from './holdings.ts'

/** Holdings without a slot that were added or removed, and the limits of lanes, which the renewal of permits needs. */
export type HoldingsChange = { held: Holding[]; dropped: Holding[]; limits: [lane: string, HeldLimits][] }

/** The limits that the permits of a lane are taken from. */
export type HeldLimits = Omit<GateLane, 'id'>

export type Renewal = {
  /** What is held; see `createHoldings`. */
  holdings: Holdings
  apply(change: HoldingsChange): void
  /** Everything that is held without a slot, as one change that starts from nothing. */
  snapshot(): HoldingsChange
  /**
   * Renews everything, with one script for each lane, tenant and gate, because these are in different slots. Tries all
   * of them, then throws the first error.
   */
  renew(): Promise<void>
}

export function createRenewal(deps: {
  leases: Leases
  gate: Pick<Gate, 'renew'>
  /** The memory of the thread that holds everything; without it, this thread does. */
  memory?: SharedArrayBuffer
}): Renewal {
  const { leases, gate } = deps
  const holdings = createHoldings(deps.memory)
  const others = new Set<Holding>()
  const limits = new Map<string, HeldLimits>()

  function group() {
    const locks = new Map<string, Lock[]>()
    const places = new Map<string, string[]>()
    const permits = new Map<string, string[]>()
    // A set, because a job that moves within the process is in two slots for a moment.
    const all = new Set([...others, ...holdings.list()])
    const put = <T>(groups: Map<string, T[]>, name: string, one: T) => {
      const group = groups.get(name)
      if (group) group.push(one)
      else groups.set(name, [one])
    }
    for (const one of all) {
      const { kind, owner, name, token } = readHolding(one)
      if (kind === 'lock') put(locks, owner, { entry: name, token })
      else put(kind === 'place' ? places : permits, owner, name)
    }
    return { locks, places, permits }
  }

  return {
    holdings,
    apply(change) {
      for (const one of change.dropped) others.delete(one)
      for (const one of change.held) others.add(one)
      for (const [lane, known] of change.limits) limits.set(lane, known)
    },
    snapshot: () => ({ held: [...others], dropped: [], limits: [...limits] }),
    async renew() {
      const { locks, places, permits } = group()
      // All in one turn of the event loop, so that they leave in one write.
      const renewed = await Promise.allSettled([
        ...[...locks].map(([lane, some]) => leases.renewLocks(lane, some)),
        ...[...places].map(([tenant, some]) => leases.renewPlaces(tenant, some)),
        // Permits whose lane's limits have not arrived yet are renewed next time. Their leases last longer than that.
        ...[...permits].flatMap(([lane, some]) => {
          const known = limits.get(lane)
          return known === undefined ? [] : [gate.renew({ id: lane, ...known }, some)]
        }),
      ])
      for (const one of renewed) if (one.status === 'rejected') throw one.reason
    },
  }
}
