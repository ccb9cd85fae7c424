import type { Transaction } from 'kysely'
import type { Database } from './database.ts'
import { type Tables, USAGE_SUMS, type UsageRow, type UsageSums } from './tables.ts'

/** What one job adds, and to which sums. `fair_key` is a digest, '' for none. Sums of 0 are left out. */
export type UsageContribution = Pick<UsageRow, 'day' | 'model' | 'tier' | 'fair_key' | 'fair_label'> &
  Partial<UsageSums>

/** Parses a contribution that was stored as JSON. */
export function parseContribution(text: string): UsageContribution {
  return JSON.parse(text) as UsageContribution
}

const KEY_COLUMNS = ['day', 'model', 'tier', 'fair_key'] as const

const ADD = USAGE_SUMS.map((name) => `${name} = history_usage.${name} + excluded.${name}`).join(', ')

/** Adds contributions to the sums (1) or subtracts them (-1). Writes each row once, even if many jobs add to it. */
export async function addToUsage(
  database: Database,
  trx: Transaction<Tables>,
  root: string,
  changes: readonly (readonly [UsageContribution, 1 | -1])[],
): Promise<void> {
  const rows = new Map<string, UsageRow>()
  for (const [one, sign] of changes) {
    if (one.day === undefined) continue
    const name = JSON.stringify(KEY_COLUMNS.map((column) => one[column]))
    let row = rows.get(name)
    if (!row) {
      const { day, model, tier, fair_key, fair_label } = one
      row = { root, day, model, tier, fair_key, fair_label, ...noUsage() }
      rows.set(name, row)
    }
    for (const sum of USAGE_SUMS) row[sum] += sign * (one[sum] ?? 0)
  }
  const changed = [...rows]
    .filter(([, row]) => USAGE_SUMS.some((sum) => row[sum] !== 0))
    // All writers use this order, so that two of them cannot deadlock.
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, row]) => row)
  await database.insertMany(trx, {
    table: 'history_usage',
    columns: [
      ['root', 'text'],
      ...KEY_COLUMNS.map((name) => [name, 'text'] as const),
      ['fair_label', 'text'],
      ...USAGE_SUMS.map((name) => [name, 'bigint'] as const),
    ],
    rows: changed.map((row) => [
      root,
      ...KEY_COLUMNS.map((name) => row[name]),
      row.fair_label,
      ...USAGE_SUMS.map((name) => row[name]),
    ]),
    conflict: `on conflict (root, day, model, tier, fair_key) do update set ${ADD}`,
  })
}

const NO_USAGE = Object.fromEntries(USAGE_SUMS.map((name) => [name, 0])) as UsageSums

/** Sums that are all 0, to fill in. */
export function noUsage(): UsageSums {
  return { ...NO_USAGE }
}
