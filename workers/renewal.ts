import type { Lane, LaneLimits } from '../config/lanes.ts'
import type { Leases, Lock } from '../jobs/leases.ts'
import type { Gate } from '../ratelimit/gate.ts'

/** Something that is ours in the store for as long as we renew it. */
export type Holding =
  | { kind: 'lock'; lane: string; entry: string; token: string }
  | { kind: 'place'; tenant: string; entry: string }
  | { kind: 'permit'; lane: string; permit: string }

/** What came to be held and what is held no more; limits of lanes, which their permits are renewed under. */
export type HoldingsChange = { held: Holding[]; dropped: Holding[]; limits: [lane: string, LaneLimits][] }

export type Renewal = {
  apply(change: HoldingsChange): void
  /** Everything that is held, as one change from nothing. */
  snapshot(): HoldingsChange
  /** Renews all, one script for each lane, tenant and gate: each in a slot of its own. Throws the first error, after all were tried. */
  renew(): Promise<void>
}

export function createRenewal(deps: { leases: Leases; gate: Pick<Gate, 'renew'> }): Renewal {
  const { leases, gate } = deps
  const holdings = new Map<string, Holding>()
  const limits = new Map<string, LaneLimits>()

  function group() {
    const locks = new Map<string, Lock[]>()
    const places = new Map<string, string[]>()
    const permits = new Map<string, string[]>()
    const put = <T>(groups: Map<string, T[]>, name: string, one: T) => {
      const group = groups.get(name)
      if (group) group.push(one)
      else groups.set(name, [one])
    }
    for (const one of holdings.values()) {
      if (one.kind === 'lock') put(locks, one.lane, { entry: one.entry, token: one.token })
      else if (one.kind === 'place') put(places, one.tenant, one.entry)
      else put(permits, one.lane, one.permit)
    }
    return { locks, places, permits }
  }

  return {
    apply(change) {
      for (const one of change.dropped) holdings.delete(keyOf(one))
      for (const one of change.held) holdings.set(keyOf(one), one)
      for (const [lane, known] of change.limits) limits.set(lane, known)
    },
    snapshot: () => ({ held: [...holdings.values()], dropped: [], limits: [...limits] }),
    async renew() {
      const { locks, places, permits } = group()
      // All in one turn, so that they leave in one write.
      const renewed = await Promise.allSettled([
        ...[...locks].map(([lane, some]) => leases.renewLocks(lane, some)),
        ...[...places].map(([tenant, some]) => leases.renewPlaces(tenant, some)),
        ...[...permits].map(([lane, some]) => gate.renew(laneOf(lane), some)),
      ])
      for (const one of renewed) if (one.status === 'rejected') throw one.reason
    },
  }

  function laneOf(id: string): Pick<Lane, 'id' | 'limits'> {
    const known = limits.get(id)
    if (!known) throw new Error(`the limits of ${id} are not known`)
    return { id, limits: known }
  }
}

/** Tokens and permits are made once, so what is held again is another holding. */
function keyOf(one: Holding): string {
  if (one.kind === 'lock') return `lock ${one.lane} ${one.entry} ${one.token}`
  return one.kind === 'place' ? `place ${one.tenant} ${one.entry}` : `permit ${one.lane} ${one.permit}`
}
