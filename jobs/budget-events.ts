import type { EventSource } from '../lib/event-references.ts'
import type { RedisClient } from '../lib/redis.ts'
import { type AnyBudget, type BudgetOwner, NEVER } from './budgets.ts'
import { isoTime } from './record.ts'

/** Ids of accounts begin with this, where they are listed together with ids of jobs. */
export const BUDGET_PREFIX = 'budget_'

/** The events of budgets: at 80 % and at 100 %. */
export const budgetEvents = ['budget.warning', 'budget.exhausted'] as const
export type BudgetEventName = (typeof budgetEvents)[number]

/** A budget that reached 80 % or 100 %. Times are RFC 3339. */
export type BudgetEvent = {
  event: BudgetEventName
  data: {
    /** The same id for all events of one window of one budget. */
    id: string
    at: string
    budget: {
      owner: BudgetOwner
      name: string | null
      usd: number
      per: AnyBudget['per']
      time_zone: string
      window_start: string | null
      window_end: string | null
    }
    spent_usd: number
    reserved_usd: number
  }
}

/** The event that `tell_of_budget` of lua/common.lua writes. */
function toBudgetEvent(id: string, text: string): BudgetEvent {
  const stored = JSON.parse(text)
  const { event, at, budget, start, end, limit, spent, reserved } = stored
  const isTotal = end === NEVER
  return {
    event,
    data: {
      id,
      at: isoTime(at),
      budget: {
        owner: budget.owner,
        name: budget.name,
        usd: limit / 1e9,
        per: budget.per,
        time_zone: budget.time_zone,
        window_start: isTotal ? null : isoTime(start),
        window_end: isTotal ? null : isoTime(end),
      },
      spent_usd: spent / 1e9,
      reserved_usd: reserved / 1e9,
    },
  }
}

const keyOf = (root: string, id: string) => `${root}:budget:${id.slice(BUDGET_PREFIX.length)}:events`

/** Reads events of budgets by their references. A group or a flow also gets the events of its own budgets. */
export function createBudgetEvents({ redis }: { redis: RedisClient }): EventSource<BudgetEvent> {
  return {
    async resolve(root, references, filter) {
      // Filters by type, lane or durable run ask for jobs.
      const { type, lane, durable } = filter
      if ((type ?? lane ?? durable) !== undefined) return references.map(() => null)
      return Promise.all(
        references.map(async ({ id, seq }) => {
          const text = await redis.lindex(keyOf(root, id), seq - 1)
          if (text === null) return null
          const event = toBudgetEvent(id, text)
          const { owner, name } = event.data.budget
          const isAsked = (['group', 'flow'] as const).every(
            (kind) => filter[kind] === undefined || (owner === kind && name === filter[kind]),
          )
          return isAsked ? event : null
        }),
      )
    },
  }
}

/** An event of a budget, for a webhook; null: it is not kept any more. */
export async function readBudgetEvent(
  redis: RedisClient,
  root: string,
  id: string,
  event: string,
): Promise<BudgetEvent['data'] | null> {
  const texts = await redis.lrange(keyOf(root, id), 0, -1)
  const found = texts.map((text) => toBudgetEvent(id, text)).findLast((one) => one.event === event)
  return found?.data ?? null
}
