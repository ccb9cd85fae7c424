import type { Config } from '../../config/schema.ts'
import { type RunTimeKey, resolveTenant, type Tenant } from '../../config/tenants.ts'
import { FlowStatus } from '../../flows/flow.ts'
import type { Flows } from '../../flows/store.ts'
import { type Budgets, type BudgetUsage, toDayUsage } from '../../jobs/budget-usage.ts'
import { type AnyBudget, type BudgetOwner, budgetOwners } from '../../jobs/budgets.ts'
import type { TenantStatsReader } from '../../jobs/tenant-stats.ts'

/** Most open flows of a tenant, by state, whose budgets are listed; the newest ones. */
const MOST_FLOWS = 100
/** Owners whose budgets are read at once. */
const BLOCK = 100

/** A budget with its owner. `label`: the name of its key or flow; null: none. */
export type ListedBudget = BudgetUsage & { tenant: string; label: string | null }

/** The position of a budget in the list: its owner, and its index among that owner's budgets. */
export type BudgetPlace = { tenant: string; owner: BudgetOwner; name: string; index: number }

export type BudgetListDeps = {
  config: () => Config
  budgets: Pick<Budgets, 'read' | 'topFairKeys' | 'digestFairKey' | 'groups' | 'ofGroup'>
  flows: Pick<Flows, 'list'>
  tenantStats: Pick<TenantStatsReader, 'read'>
  /** Keys that the API created. */
  madeKeys: () => readonly RunTimeKey[]
  /** Unix ms, by Redis' clock. */
  now: () => number
}

export type BudgetFilter = {
  tenants: readonly string[]
  /** Default: all owners. */
  owner?: BudgetOwner | undefined
  /** Only budgets of this fair key. */
  fairKey?: string | undefined
}

/** An owner whose budgets are read when the list reaches it. */
type Owner = {
  owner: BudgetOwner
  name: string
  label: string | null
  read(): Promise<BudgetUsage[]>
}

/** Lists up to `limit` budgets by tenant, owner and name, after a position. */
export async function listBudgets(
  deps: BudgetListDeps,
  filter: BudgetFilter,
  limit: number,
  after: BudgetPlace | null,
): Promise<{ data: { place: BudgetPlace; budget: ListedBudget }[]; hasMore: boolean }> {
  const found: { place: BudgetPlace; budget: ListedBudget }[] = []
  const keys = keysByTenant(deps.madeKeys())
  for (const tenant of filter.tenants.toSorted()) {
    if (after !== null && tenant < after.tenant) continue
    const owners = await listOwners(deps, tenant, keys.get(tenant) ?? [], filter)
    const begun = after === null || after.tenant !== tenant ? null : after
    const rest = owners.filter((one) => begun === null || compare(one, begun) >= 0)
    for (let first = 0; first < rest.length; first += BLOCK) {
      const block = rest.slice(first, first + BLOCK)
      const lists = await Promise.all(block.map((one) => one.read()))
      lists.forEach((usages, at) => {
        const { owner, name, label } = block[at]!
        usages.forEach((usage, index) => {
          if (begun !== null && compare(block[at]!, begun) === 0 && index <= begun.index) return
          found.push({ place: { tenant, owner, name, index }, budget: { ...usage, tenant, label } })
        })
      })
      if (found.length > limit) return { data: found.slice(0, limit), hasMore: true }
    }
  }
  return { data: found, hasMore: false }
}

function compare(
  one: { owner: BudgetOwner; name: string },
  other: { owner: BudgetOwner; name: string },
): number {
  const rank = budgetOwners.indexOf(one.owner) - budgetOwners.indexOf(other.owner)
  return rank !== 0 ? rank : one.name < other.name ? -1 : one.name > other.name ? 1 : 0
}

/** Keys with budgets, by tenant. */
export function keysByTenant(madeKeys: readonly RunTimeKey[]): Map<string, RunTimeKey[]> {
  const limited = madeKeys.filter(({ budgets = [] }) => budgets.length > 0)
  return Map.groupBy(limited, ({ tenant }) => tenant)
}

/** @param keys the tenant's keys with budgets */
async function listOwners(
  deps: BudgetListDeps,
  name: string,
  keys: readonly RunTimeKey[],
  filter: BudgetFilter,
): Promise<Owner[]> {
  const tenant = resolveTenant(deps.config(), name)
  if (tenant === null) return []
  if (filter.fairKey !== undefined) return [ofFairKey(deps, tenant, filter.fairKey)]
  const makers: Record<BudgetOwner, () => Owner[] | Promise<Owner[]>> = {
    tenant: () => [{ owner: 'tenant', name: '', label: null, read: () => readTenantBudgets(deps, tenant) }],
    key: () => listKeys(deps, keys),
    fair_key: () => listFairKeys(deps, tenant),
    group: () => listGroups(deps, name),
    flow: () => listFlows(deps, name),
  }
  const asked = budgetOwners.filter((owner) => filter.owner === undefined || owner === filter.owner)
  const lists = await Promise.all(asked.map((owner) => makers[owner]()))
  return lists.flat().sort(compare)
}

/** A tenant's own budgets. The budget of a UTC day, `budget_usd_per_day`, comes first. */
export async function readTenantBudgets(
  {
    budgets,
    tenantStats,
    now,
  }: Pick<BudgetListDeps, 'tenantStats' | 'now'> & { budgets: Pick<Budgets, 'read'> },
  { name, limits }: Pick<Tenant, 'name' | 'limits'>,
): Promise<BudgetUsage[]> {
  const { budget_usd_per_day: usd, budgets: own = [] } = limits
  const [stats, usages] = await Promise.all([
    usd === undefined ? [] : tenantStats.read([name]),
    budgets.read(name, 'tenant', null, own),
  ])
  return [...stats.map((one) => toDayUsage(usd!, one, now())), ...usages]
}

function listKeys({ budgets }: BudgetListDeps, keys: readonly RunTimeKey[]): Owner[] {
  return keys.map(({ id, tenant, name, budgets: own = [] }) => ({
    owner: 'key',
    name: id,
    label: name ?? null,
    read: () => budgets.read(tenant, 'key', id, own),
  }))
}

function ofDigest(
  { budgets }: BudgetListDeps,
  tenant: string,
  digest: string,
  own: readonly AnyBudget[],
): Owner {
  return {
    owner: 'fair_key',
    name: digest,
    label: null,
    read: () => budgets.read(tenant, 'fair_key', digest, own),
  }
}

function ofFairKey(deps: BudgetListDeps, { name, fairKeyBudgets = [] }: Tenant, fairKey: string): Owner {
  return ofDigest(deps, name, deps.budgets.digestFairKey(name, fairKey), fairKeyBudgets)
}

async function listFairKeys(deps: BudgetListDeps, { name, fairKeyBudgets = [] }: Tenant): Promise<Owner[]> {
  if (fairKeyBudgets.length === 0) return []
  const digests = await deps.budgets.topFairKeys(name, fairKeyBudgets)
  return digests.map((digest) => ofDigest(deps, name, digest, fairKeyBudgets))
}

async function listGroups({ budgets }: BudgetListDeps, tenant: string): Promise<Owner[]> {
  const names = await budgets.groups(tenant)
  return names.map((name) => ({
    owner: 'group',
    name,
    label: null,
    read: async () => (await budgets.ofGroup(tenant, name)) ?? [],
  }))
}

async function listFlows({ budgets, flows }: BudgetListDeps, tenant: string): Promise<Owner[]> {
  const pages = await Promise.all(
    [FlowStatus.running, FlowStatus.waiting].map((status) => flows.list(tenant, { status }, MOST_FLOWS)),
  )
  return pages.flatMap(({ data }) =>
    data.flatMap(({ id, name, budget_usd: usd, budgets: windows }): Owner[] => {
      const inAll = usd === null ? [] : [{ usd, per: 'total' as const, time_zone: 'UTC' }]
      const own = [...inAll, ...windows]
      if (own.length === 0) return []
      return [{ owner: 'flow', name: id, label: name, read: () => budgets.read(tenant, 'flow', id, own) }]
    }),
  )
}
