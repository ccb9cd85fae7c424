import { keysByTenant, readTenantBudgets } from '../api/budgets/list-budgets.ts'
import type { Config } from '../config/schema.ts'
import { type RunTimeKey, resolveTenant } from '../config/tenants.ts'
import { type BudgetUsage, usedShare } from '../jobs/budget-usage.ts'
import type { BudgetOwner } from '../jobs/budgets.ts'
import type { BudgetReading, StoreReading } from '../telemetry/store-reading.ts'
import type { openStore } from './store.ts'

/** Reads the budgets for metrics: those of tenants, of their keys, and of the fair key that spent most. */
export function createBudgetReader(deps: {
  config: () => Config
  store: Pick<ReturnType<typeof openStore>, 'budgets' | 'tenantStats' | 'now'>
  madeKeys: () => readonly RunTimeKey[]
}): (tenants: readonly string[]) => Promise<StoreReading['budgets']> {
  const { config, store, madeKeys } = deps
  const { budgets } = store

  async function readOne(name: string, keys: readonly RunTimeKey[]): Promise<BudgetReading[]> {
    const tenant = resolveTenant(config(), name)
    if (tenant === null) return []
    const [own, ofKeys, ofFairKeys] = await Promise.all([
      readTenantBudgets(store, tenant),
      Promise.all(keys.map((key) => budgets.read(name, 'key', key.id, key.budgets ?? []))),
      readFairKeys(name, tenant.fairKeyBudgets ?? []),
    ])
    return [
      ...fullestByWindow(own).map((usage) => toReading(name, 'tenant', usage)),
      ...fullestByWindow(ofKeys.flat()).map((usage) => toReading(name, 'key', usage)),
      ...fullestByWindow(ofFairKeys).map((usage) => toReading(name, 'fair_key', usage)),
    ]
  }

  async function readFairKeys(
    name: string,
    own: Parameters<typeof budgets.topFairKeys>[1],
  ): Promise<BudgetUsage[]> {
    if (own.length === 0) return []
    // All have the same limits, so the one that spent most in a window has the least left.
    const lists = await Promise.all(
      own.map(async (budget) => {
        const [digest] = await budgets.topFairKeys(name, [budget])
        return digest === undefined ? [] : budgets.read(name, 'fair_key', digest, [budget])
      }),
    )
    return lists.flat()
  }

  return async (tenants) => {
    const keys = keysByTenant(madeKeys())
    return (await Promise.all(tenants.map((name) => readOne(name, keys.get(name) ?? [])))).flat()
  }
}

/** The fullest budget for each kind of window. */
function fullestByWindow(usages: readonly BudgetUsage[]): BudgetUsage[] {
  const found = new Map<string, BudgetUsage>()
  for (const usage of usages) {
    const known = found.get(usage.per)
    if (known === undefined || usedShare(usage) > usedShare(known)) found.set(usage.per, usage)
  }
  return [...found.values()]
}

function toReading(tenant: string, owner: BudgetOwner, usage: BudgetUsage): BudgetReading {
  return {
    ...{ tenant, owner, per: usage.per },
    limitUsd: usage.usd,
    spentUsd: usage.spent_usd,
    reservedUsd: usage.reserved_usd,
    usedShare: usedShare(usage),
  }
}
