import { listLanes, resolveLane } from './lanes.ts'
import type { Config } from './schema.ts'

/** A lane with unknown costs, and the tenants whose budgets do not count its calls. */
export type UnpricedLane = { lane: string; budgets: string[] }

/** The configured lanes that have no price, neither configured nor in the catalogue. */
export function findUnpriced(config: Config): UnpricedLane[] {
  const budgets = tenantsWithBudgets(config)
  return listLanes(config)
    .filter(({ price }) => price === null)
    .map(({ id }) => ({ lane: id, budgets }))
}

/** Those of the lanes that are not configured by name (models `"*"`) and have no price. */
export function findUnpricedUnnamed(config: Config, lanes: readonly string[]): UnpricedLane[] {
  const named = new Set(listLanes(config).map(({ id }) => id))
  const found = lanes.filter((id) => !named.has(id) && resolveLane(config, id)?.price === null)
  if (found.length === 0) return []
  const budgets = tenantsWithBudgets(config)
  return found.map((lane) => ({ lane, budgets }))
}

function tenantsWithBudgets(config: Config): string[] {
  return Object.entries(config.tenants)
    .filter(([, { limits, per_fair_key: each }]) =>
      [limits, each].some((some) => some?.budget_usd_per_day !== undefined || some?.budgets?.length),
    )
    .map(([name]) => name)
}
