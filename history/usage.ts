import { type RawBuilder, type SelectQueryBuilder, sql } from 'kysely'
import type { Database } from './database.ts'
import { type Tables, USAGE_SUMS, type UsageRow, type UsageSums } from './tables.ts'

export const USAGE_NAMES = ['day', 'tenant', 'model', 'tier', 'fair_key'] as const
/** The most sums that one query may return. All of them are read to sort them. */
const MOST_SUMS = 10_000

/** The query has more than `most` sums. */
export class TooManySumsError extends Error {
  override readonly name = 'TooManySumsError'
  readonly most = MOST_SUMS
}

export type UsageName = (typeof USAGE_NAMES)[number]

/** Which sums to read. Days are UTC, `YYYY-MM-DD`, both included. */
export type UsageAsk = {
  prefix: string
  /** Null: all tenants. */
  tenant: string | null
  by: readonly UsageName[]
  from: string
  to: string
  /** Only this many entries, those with the highest cost, and the sum of the rest; null: all entries. */
  top: number | null
}

const MONEY = [
  'cost_nano',
  'saved_cache_nano',
  'saved_sharing_nano',
  'saved_tiers_nano',
  'saved_prompt_cache_nano',
] as const

type MoneySum = (typeof MONEY)[number]
type InUsd<Name> = Name extends `${infer Start}_nano` ? `${Start}_usd` : never

/** Adds up usage of one installation. */
export type UsageReader = {
  read(ask: Omit<UsageAsk, 'prefix'>): Promise<UsageAnswer>
  /** Unix ms, by Redis' clock, which decides on which day a job ended. */
  now(): number
}

/** One entry of sums with the names that it is grouped by; a name is null if the jobs have none. Money is USD. */
export type UsageEntry = Partial<Record<UsageName, string | null>> &
  Omit<UsageSums, MoneySum> &
  Omit<Record<InUsd<MoneySum>, number>, 'cost_usd'> & {
    /** The cost of the calls whose lanes have a price; null: no call has a price. */
    cost_usd: number | null
  }

/** `rest`: the sums of all entries that `top` left out, and their number; null without `top`, or if it left out none. */
export type UsageAnswer = { entries: UsageEntry[]; rest: (UsageEntry & { entries: number }) | null }

/**
 * Adds up the usage of ended jobs. Throws `TooManySumsError` if there are too many sums and no `top`.
 *
 * @param openFairKey decrypts a label (an id, a line end, and the fair key as it is stored); null: it cannot be read
 */
export async function readUsage(
  { reads, kind }: Database,
  { prefix, tenant, by, from, to, top }: UsageAsk,
  openFairKey: (root: string, label: string) => string | null,
): Promise<UsageAnswer> {
  const start = `${prefix}:{t:`
  const byFairKey = by.includes('fair_key')
  // PostgreSQL sums 64-bit integers as decimals, which takes three times as long as floats. Floats are exact up to 2^53.
  const sumOf = (name: keyof UsageSums) =>
    kind === 'postgres' ? sql<number>`sum(${sql.ref(name)}::float8)` : sql<number>`sum(${sql.ref(name)})`
  const columns = [
    ...(by.includes('tenant') || byFairKey ? (['root'] as const) : []),
    ...(['day', 'model', 'tier'] as const).filter((name) => by.includes(name)),
    ...(byFairKey ? (['fair_key'] as const) : []),
  ]
  let query = reads
    .selectFrom('history_usage')
    .select(columns)
    .select(USAGE_SUMS.map((name) => sumOf(name).as(name)))
    .where('day', '>=', from)
    .where('day', '<=', to)
  if (byFairKey) query = query.select(({ fn }) => fn.max('fair_label').as('label'))
  query =
    tenant === null
      ? query.where('root', '>=', start).where('root', '<', `${prefix}:{t;`)
      : query.where('root', '=', `${start}${tenant}}`)
  if (columns.length > 0) query = query.groupBy(columns)
  if (top !== null) query = sumAll(query, columns, sumOf)
  const rows = (await query.limit(top ?? MOST_SUMS + 1).execute()) as unknown as SumRow[]
  if (rows.length > MOST_SUMS) throw new TooManySumsError(`usage has more than ${MOST_SUMS} sums`)
  // After a change of the encryption key, a fair key has a new digest under the same name.
  const entries = new Map<string, UsageEntry>()
  for (const row of rows) {
    // Without rows, SQL returns one row whose sums are null.
    if (columns.length === 0 && row.jobs === null) continue
    const names = Object.fromEntries(
      by.map((name) => {
        if (name === 'tenant') return [name, row.root!.slice(start.length, -1)]
        if (name !== 'fair_key') return [name, row[name]!]
        return [name, row.fair_key === '' ? null : openFairKey(row.root!, row.label!)]
      }),
    )
    const key = JSON.stringify(names)
    const entry = entries.get(key)
    if (entry) addTo(entry, row)
    else entries.set(key, addTo({ ...names, ...none() } as unknown as UsageEntry, row))
  }
  const sorted = [...entries.values()].map(withKnownCost)
  if (top !== null) return { entries: sorted, rest: toRest(rows) }
  return { entries: sorted.sort((a, b) => compare(a, b, by)), rest: null }
}

type SumRow = Partial<Record<string, string>> & Record<keyof UsageSums, unknown>

/** Orders by cost, the highest first, and adds the sums of all entries to each row, so that both are read at the same moment. */
function sumAll<Query extends SelectQueryBuilder<Tables, 'history_usage', object>>(
  query: Query,
  columns: readonly (keyof UsageRow)[],
  sumOf: (name: keyof UsageSums) => RawBuilder<number>,
): Query {
  const sums = query
    .select(USAGE_SUMS.map((name) => sql`sum(${sumOf(name)}) over ()`.as(`all_${name}`)))
    .select(sql`count(*) over ()`.as('all_entries'))
    .orderBy(sumOf('cost_nano'), 'desc')
    .orderBy(sumOf('jobs'), 'desc')
  return columns.reduce((ordered, column) => ordered.orderBy(column), sums) as Query
}

function toRest(rows: readonly SumRow[]): UsageAnswer['rest'] {
  const [first] = rows as (SumRow & Record<`all_${keyof UsageSums}` | 'all_entries', unknown>)[]
  const entries = Number(first?.all_entries ?? 0) - rows.length
  if (first === undefined || entries <= 0) return null
  const left = Object.fromEntries(
    USAGE_SUMS.map((name) => {
      const shown = rows.reduce((sum, row) => sum + Number(row[name]), 0)
      return [name, Number(first[`all_${name}`]) - shown]
    }),
  ) as UsageSums
  return { entries, ...withKnownCost(addTo(none() as unknown as UsageEntry, left)) }
}

function none(): Record<string, number> {
  return Object.fromEntries(USAGE_SUMS.map((name) => [toShown(name), 0]))
}

function toShown(name: string): string {
  return name.endsWith('_nano') ? `${name.slice(0, -'_nano'.length)}_usd` : name
}

function addTo(entry: UsageEntry, row: Record<keyof UsageSums, unknown>): UsageEntry {
  const sums = entry as unknown as Record<string, number>
  for (const name of USAGE_SUMS) {
    const shown = toShown(name)
    const more = Number(row[name])
    // Adds integers (billionths), so that no rounding error accumulates.
    sums[shown] = shown === name ? sums[shown]! + more : (Math.round(sums[shown]! * 1e9) + more) / 1e9
  }
  return entry
}

function withKnownCost(entry: UsageEntry): UsageEntry {
  return entry.cost_usd === 0 && entry.unpriced_calls > 0 ? { ...entry, cost_usd: null } : entry
}

function compare(a: UsageEntry, b: UsageEntry, by: readonly UsageName[]): number {
  for (const name of by) {
    const [left, right] = [a[name] ?? '', b[name] ?? '']
    if (left !== right) return left < right ? -1 : 1
  }
  return 0
}
