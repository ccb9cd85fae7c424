import type { Lane, LaneLimits } from '../config/lanes.ts'
import type { Leases, Lock } from '../jobs/leases.ts'
import type { Gate } from '../ratelimit/gate.ts'

/**
 * Something that is ours in the store for as long as we renew it, as text: a job holds three such things in its life, and the
 * thread that renews them is told of each. Copying one string between threads costs a tenth of what objects do. Tokens and
 * permits are made once, so what is held again is another holding.
 */
export type Holding = string & { readonly kind: unique symbol }

/** No name, id or token has it. */
const SEPARATOR = '\n'

const toHolding = (...parts: string[]) => parts.join(SEPARATOR) as Holding
export const lockHolding = (lane: string, { entry, token }: Lock) => toHolding('lock', lane, entry, token)
export const placeHolding = (tenant: string, entry: string) => toHolding('place', tenant, entry)
export const permitHolding = (lane: string, permit: string) => toHolding('permit', lane, permit)

/** What came to be held and what is held no more; limits of lanes, which their permits are renewed under. */
export type HoldingsChange = { held: Holding[]; dropped: Holding[]; limits: [lane: string, LaneLimits][] }

/** A change on its way to the thread: holdings in one text, with an empty line between two. */
export type PackedChange = { held: string; dropped: string; limits: HoldingsChange['limits'] }

const BETWEEN = SEPARATOR + SEPARATOR

export function packChange({ held, dropped, limits }: HoldingsChange): PackedChange {
  return { held: held.join(BETWEEN), dropped: dropped.join(BETWEEN), limits }
}

export function unpackChange({ held, dropped, limits }: PackedChange): HoldingsChange {
  const unpack = (text: string) => (text === '' ? [] : (text.split(BETWEEN) as Holding[]))
  return { held: unpack(held), dropped: unpack(dropped), limits }
}

export type Renewal = {
  apply(change: HoldingsChange): void
  /** Everything that is held, as one change from nothing. */
  snapshot(): HoldingsChange
  /** Renews all, one script for each lane, tenant and gate: each in a slot of its own. Throws the first error, after all were tried. */
  renew(): Promise<void>
}

export function createRenewal(deps: { leases: Leases; gate: Pick<Gate, 'renew'> }): Renewal {
  const { leases, gate } = deps
  const holdings = new Set<Holding>()
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
    for (const one of holdings) {
      const [kind, owner, name, token] = one.split(SEPARATOR) as [string, string, string, string]
      if (kind === 'lock') put(locks, owner, { entry: name, token })
      else put(kind === 'place' ? places : permits, owner, name)
    }
    return { locks, places, permits }
  }

  return {
    apply(change) {
      for (const one of change.dropped) holdings.delete(one)
      for (const one of change.held) holdings.add(one)
      for (const [lane, known] of change.limits) limits.set(lane, known)
    },
    snapshot: () => ({ held: [...holdings], dropped: [], limits: [...limits] }),
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
