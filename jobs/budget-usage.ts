import type { RedisClient } from '../lib/redis.ts'
import { type AnyBudget, accountName, type BudgetOwner, type BudgetWindow, toWindows } from './budgets.ts'
import { createGroupBudgetStore } from './group-budgets.ts'
import { isoTime } from './record.ts'

/** A budget, and how it stands in its window. */
export type BudgetUsage = {
  owner: BudgetOwner
  name: string | null
  usd: number
  per: AnyBudget['per']
  time_zone: string
  /** RFC 3339; null: it has no windows. */
  window_start: string | null
  window_end: string | null
  spent_usd: number
  reserved_usd: number
}

/** Budgets of groups, and how budgets stand. Every method takes the tenant first. */
export type Budgets = {
  /** How these budgets stand now, in their order. */
  read(
    tenant: string,
    owner: BudgetOwner,
    name: string | null,
    budgets: readonly AnyBudget[],
  ): Promise<BudgetUsage[]>
  /** Null: the group has none. */
  ofGroup(tenant: string, group: string): Promise<BudgetUsage[] | null>
  setOfGroup(tenant: string, group: string, budgets: readonly AnyBudget[]): Promise<BudgetUsage[]>
  /** False: it had none. */
  removeOfGroup(tenant: string, group: string): Promise<boolean>
}

/** @param deps.now Unix ms, by Redis' clock */
export function createBudgets(deps: {
  redis: RedisClient
  rootOf: (tenant: string) => string
  now: () => number
}): Budgets {
  const { redis, rootOf, now } = deps
  const groups = createGroupBudgetStore(redis)

  async function readWindow(root: string, window: BudgetWindow): Promise<BudgetUsage> {
    const { owner, name, usd, per, time_zone, start, end } = window
    const [spent, reserved] = await redis.hmget(`${root}:budget:${accountName(window)}`, 'spent', 'reserved')
    const toUsd = (nano: string | null | undefined) => Math.max(0, Number(nano ?? 0)) / 1e9
    return {
      ...{ owner, name, usd, per, time_zone },
      window_start: per === 'total' ? null : isoTime(start),
      window_end: per === 'total' ? null : isoTime(end),
      spent_usd: toUsd(spent),
      reserved_usd: toUsd(reserved),
    }
  }

  const read: Budgets['read'] = (tenant, owner, name, budgets) =>
    Promise.all(toWindows(owner, name, budgets, now()).map((window) => readWindow(rootOf(tenant), window)))

  return {
    read,
    async ofGroup(tenant, group) {
      const found = await groups.get(rootOf(tenant), group)
      return found && read(tenant, 'group', group, found.budgets)
    },
    async setOfGroup(tenant, group, budgets) {
      await groups.set(rootOf(tenant), group, budgets)
      return read(tenant, 'group', group, budgets)
    },
    removeOfGroup: (tenant, group) => groups.remove(rootOf(tenant), group),
  }
}
