import { listLanes } from './lanes.ts'
import type { Config } from './schema.ts'

/** A lane whose costs are not known, and the tenants whose budgets do not see its calls. */
export type UnpricedLane = { lane: string; budgets: string[] }

/** The lanes that the configuration names and that neither it nor the catalogue has a price for. */
export function findUnpriced(config: Config): UnpricedLane[] {
  const budgets = Object.entries(config.tenants)
    .filter(([, { limits, per_fair_key: each }]) =>
      [limits, each].some((some) => some?.budget_usd_per_day !== undefined || some?.budgets?.length),
    )
    .map(([name]) => name)
  return listLanes(config)
    .filter(({ price }) => price === null)
    .map(({ id }) => ({ lane: id, budgets }))
}
