import type { Cluster, Redis } from 'ioredis'
import { addressBuckets, type GateLane } from './addresses.ts'
import { createLaneAdoption } from './adopt-lanes.ts'
import { readLaneState } from './compose-state.ts'
import type { Gate, PreparedTake } from './gate.ts'
import { countMedia } from './media-limits.ts'
import { defineScripts } from './scripts.ts'
import { encodeBookings, toBooking, toPause } from './settle-script.ts'
import { encodeRequests, readTaken, toAmounts, toTakeAnswer } from './take-script.ts'

export type GateOptions = {
  redis: Redis | Cluster
  /** The prefix of all keys. */
  prefix: string
  /** How long a permit holds its concurrency slot without a renewal, ms. Default 30 s. */
  leaseMs?: number
  /** Spreads the ends of pauses. */
  random?: () => number
  /** A clock in ms in place of Redis' own, for simulated time. */
  now?: () => number
}

/** Creates the gate in front of every lane. It has no state and no connection of its own. */
export function createGate({
  redis,
  prefix,
  leaseMs = 30_000,
  random = Math.random,
  now,
}: GateOptions): Gate {
  const scripts = defineScripts(redis)

  const adoption = createLaneAdoption({ redis, prefix })

  const prepared = new WeakMap<GateLane, Pick<PreparedTake, 'keys' | 'args'>>()

  function split([count, ...rest]: (string | number)[]): Pick<PreparedTake, 'keys' | 'args'> {
    const keys = rest.slice(0, Number(count)) as string[]
    return { keys, args: rest.slice(keys.length) }
  }

  /** Keys and arguments that every script begins with. A permit is renewed and settled where it was taken. */
  const address = (lane: GateLane) => addressBuckets(prefix, lane, now ? now() : '')

  return {
    async take(lane, requests) {
      if (requests.length === 0) return toTakeAnswer({ permits: [], waitMs: 0, waitingFor: null })
      await adoption.adopt(lane.id)
      const asked = { leaseMs, requests: encodeRequests(lane, requests) }
      return toTakeAnswer(readTaken(await scripts.take(address(lane), asked)))
    },

    async prepareTake(lane, cost, permitMs) {
      await adoption.adopt(lane.id)
      const known = prepared.get(lane) ?? split(address(lane))
      const { keys, args } = known
      // Lanes are the same objects for as long as the configuration is; the simulated time of an address is not.
      if (!now) prepared.set(lane, known)
      return { keys, args: [...args, permitMs], amounts: toAmounts(countMedia(lane, cost)) }
    },

    async settle(lane, settlements) {
      if (settlements.length === 0) return
      const bookings = settlements.map((each) => {
        const actual = each.actual && countMedia(lane, each.actual)
        return toBooking({ ...each, actual }, random)
      })
      await scripts.settle(address(lane), encodeBookings(bookings))
    },

    async renew(lane, permits) {
      if (permits.length > 0) await scripts.renew(address(lane), { leaseMs, permits })
    },

    async pause(lane, forMs, reason) {
      await adoption.adopt(lane.id)
      await scripts.pause(address(lane), { forMs: toPause(forMs), reason })
    },

    async resume(lane) {
      await adoption.adopt(lane.id)
      await scripts.resume(address(lane))
    },

    async retry(lane, count, tenant = '') {
      return count > 0 ? scripts.retry(address(lane), { count, tenant }) : []
    },

    async read(lane) {
      await adoption.adopt(lane.id)
      return readLaneState(await scripts.read(address(lane)), {
        shared: (lane.shared ?? []).map(({ name }) => name),
        sources: (lane.sources ?? []).map(({ name }) => name),
      })
    },

    async forget(lane) {
      await scripts.forget(address(lane))
      adoption.forget(lane.id)
    },
  }
}
