import type { RedisClient } from '../lib/redis.ts'
import type { AtRest } from './at-rest.ts'
import { type BookedCall, type CallBudgets, createCallBooks } from './book-call.ts'
import { type AnyBudget, accountName, type BudgetOwner, type BudgetWindow, toWindows } from './budgets.ts'
import { digestFairKey } from './fair-key.ts'
import { createGroupBudgetStore, MOST_GROUPS_WITH_BUDGETS } from './group-budgets.ts'
import { isoTime } from './record.ts'
import type { Scripts } from './scripts.ts'
import type { TenantStats } from './tenant-stats.ts'

/** A budget, and what is spent of it in its window. */
export type BudgetUsage = {
  owner: BudgetOwner
  name: string | null
  usd: number
  per: AnyBudget['per']
  time_zone: string
  /** RFC 3339; null: the budget has no windows. */
  window_start: string | null
  window_end: string | null
  spent_usd: number
  reserved_usd: number
}

/** Budgets of groups, and what is spent of budgets. Every method takes the tenant first. */
export type Budgets = {
  /** What is spent of these budgets now, in their order. */
  read(
    tenant: string,
    owner: BudgetOwner,
    name: string | null,
    budgets: readonly AnyBudget[],
  ): Promise<BudgetUsage[]>
  /** The digests of the fair keys that spent most in the present windows of these budgets, 100 for each budget. */
  topFairKeys(tenant: string, budgets: readonly AnyBudget[]): Promise<string[]>
  /** The digest that stands for this fair key in budgets. */
  digestFairKey(tenant: string, fairKey: string): string
  /** Names of the groups that have budgets or had them lately, sorted. */
  groups(tenant: string): Promise<string[]>
  /** Null: the group has no budgets. */
  ofGroup(tenant: string, group: string): Promise<BudgetUsage[] | null>
  /** Null: no further group may have budgets (`mostGroups`). */
  setOfGroup(tenant: string, group: string, budgets: readonly AnyBudget[]): Promise<BudgetUsage[] | null>
  /** False: the group had no budgets. */
  removeOfGroup(tenant: string, group: string): Promise<boolean>
  mostGroups: number
  /** Books a call that belongs to no job. */
  bookCall(tenant: string, budgets: CallBudgets, estimateUsd: number): Promise<BookedCall>
}

const DAY_MS = 86_400_000

/**
 * @param deps.now Unix ms, by Redis' clock
 * @param deps.mostGroups how many groups of a tenant may have budgets
 */
export function createBudgets(deps: {
  redis: RedisClient
  scripts: Pick<Scripts, 'run'>
  rootOf: (tenant: string) => string
  atRest: Pick<AtRest, 'digests'>
  now: () => number
  mostGroups?: number
}): Budgets {
  const { redis, scripts, rootOf, atRest, now, mostGroups = MOST_GROUPS_WITH_BUDGETS } = deps
  const groups = createGroupBudgetStore({ redis, scripts, most: mostGroups })

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
    Promise.all(
      toWindows({ owner, name }, budgets, now()).map((window) => readWindow(rootOf(tenant), window)),
    )

  return {
    read,
    async topFairKeys(tenant, budgets) {
      const lists = await Promise.all(
        toWindows({ owner: 'fair_key', name: null }, budgets, now()).map(({ start, end }) =>
          redis.zrevrange(`${rootOf(tenant)}:fair-key-costs:${start}:${end}`, 0, -1),
        ),
      )
      return [...new Set(lists.flat())]
    },
    digestFairKey: (tenant, fairKey) => digestFairKey(rootOf(tenant), fairKey, atRest),
    groups: (tenant) => groups.names(rootOf(tenant)),
    async ofGroup(tenant, group) {
      const found = await groups.get(rootOf(tenant), group)
      return found && read(tenant, 'group', group, found.budgets)
    },
    async setOfGroup(tenant, group, budgets) {
      const isSet = await groups.set(rootOf(tenant), group, budgets)
      return isSet ? read(tenant, 'group', group, budgets) : null
    },
    removeOfGroup: (tenant, group) => groups.remove(rootOf(tenant), group),
    mostGroups,
    bookCall: createCallBooks({ scripts, rootOf }),
  }
}

/**
 * What is spent of a tenant's `budget_usd_per_day`, which is counted apart from the others. `now`: Unix ms, by Redis'
 * clock.
 */
export function toDayUsage(
  usd: number,
  { spentUsd, reservedUsd }: Pick<TenantStats, 'spentUsd' | 'reservedUsd'>,
  now: number,
): BudgetUsage {
  const start = now - (now % DAY_MS)
  return {
    ...{ owner: 'tenant', name: null, usd, per: 'day', time_zone: 'UTC' },
    window_start: isoTime(start),
    window_end: isoTime(start + DAY_MS),
    spent_usd: spentUsd,
    reserved_usd: reservedUsd,
  }
}

/** The used share of a budget, with what its open jobs may cost; 1 or more: it has no room. */
export function usedShare({ usd, spent_usd, reserved_usd }: BudgetUsage): number {
  return usd === 0 ? 1 : (spent_usd + reserved_usd) / usd
}
