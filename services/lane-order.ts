import { resolveLane } from '../config/lanes.ts'
import type { Config } from '../config/schema.ts'
import { hadItsTurn, type Order } from '../jobs/queue-entry.ts'
import { type Fairness, flowOf, priorityOf, serviceSeconds, serviceShares } from '../ratelimit/fairness.ts'

/**
 * The order of a lane's entries: translates between the turns of the rate limiter and the queue.
 *
 * @param deps.onError a failure here costs fairness for a while, but no job
 */
export function createLaneOrder(deps: {
  fairness: Fairness
  config: () => Config
  onError: (error: unknown, what: string) => void
}): Order {
  const { fairness, config, onError } = deps
  const weightOf = (tenant: string) => config().tenants[tenant]?.weight ?? 1
  const orTell = (done: Promise<unknown>, what: string) => {
    done.catch((error: unknown) => onError(error, what))
  }

  return {
    async place(laneId, entries, held) {
      const lane = resolveLane(config(), laneId)
      // A lane that is no longer configured still keeps its entries in order.
      const seconds = entries.map(({ cost }) => (lane ? serviceSeconds(lane, cost) : 1))
      const flows = entries.map((entry) => ({
        band: entry.priority,
        later: entry.notBefore !== null,
        again: hadItsTurn(entry),
      }))
      const tags = await fairness.tag(
        laneId,
        entries.map(({ tenant, cost: { fairKey } }, index) => ({
          tenant,
          ...(fairKey === undefined ? {} : { fairKey }),
          ...flows[index]!,
          seconds: seconds[index]!,
          weight: weightOf(tenant),
        })),
        held,
      )
      if (lane) {
        const sum = { requests: 0, tokens: 0 }
        for (const { cost } of entries) {
          const shares = serviceShares(lane, cost)
          sum.requests += shares.requests
          sum.tokens += shares.tokens
        }
        const all = seconds.reduce((total, one) => total + one, 0)
        orTell(fairness.mix(laneId, all, sum), 'adding to the mix')
      }
      return tags.map(({ start, turn }, index) => ({
        start,
        ...(turn === null ? {} : { turn }),
        seconds: seconds[index]!,
        priority: priorityOf(start, entries[index]!.priority),
        flow: flowOf(flows[index]!),
        share: seconds[index]! / weightOf(entries[index]!.tenant),
      }))
    },
    holds: (laneId, starts) => fairness.holds(laneId, starts),
    served: (laneId, service) => orTell(fairness.serve(laneId, service), 'moving the virtual time'),
    left: (laneId, entries) => orTell(fairness.untag(laneId, entries), 'giving service back'),
  }
}
