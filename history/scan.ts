import { type RawBuilder, type SqlBool, sql } from 'kysely'
import type { HistoryFilter, Place } from './filter.ts'
import { pairOf } from './finished-job.ts'
import type { JobRow } from './tables.ts'

/** What `matchesFilter` looks at; the rest of a row is large. All of them stand in the index of lists. */
const CHECKED = [
  ...['created_at', 'id', 'state', 'status', 'type', 'lane', 'group_name', 'schedule', 'model', 'error_code'],
  ...['cost_nano', 'finished_at'],
]

/** Pairs of metadata of the filter, the rarest first. */
export type Pairs = readonly string[]

export type Scan = {
  root: string
  filter: HistoryFilter
  pairs: Pairs
  order: 'asc' | 'desc'
  after: Place | null
}

/** The rows that a page looks at, in their order, by the narrowest index that the filter names. */
export function scanRows({ root, filter, pairs, order, after }: Scan): RawBuilder<unknown> {
  const { status, group, schedule, model, errorCode, createdAfter, createdBefore } = filter
  const place =
    after === null
      ? sql<SqlBool>`true`
      : order === 'desc'
        ? sql<SqlBool>`(created_at, id) < (${after.createdAt}, ${after.id})`
        : sql<SqlBool>`(created_at, id) > (${after.createdAt}, ${after.id})`
  const bounds = sql`${place}
    ${createdAfter === undefined ? sql`` : sql`and created_at >= ${createdAfter}`}
    ${createdBefore === undefined ? sql`` : sql`and created_at < ${createdBefore}`}`
  const direction = sql.raw(order)
  const inOrder = sql`order by created_at ${direction}, id ${direction}`
  const [pair] = pairs
  if (pair !== undefined) {
    return sql`select created_at, id from history_metadata
      where root = ${root} and pair = ${pair} and ${bounds} ${inOrder}`
  }
  const jobs = (chosen: RawBuilder<unknown>) => sql`select ${sql.raw(CHECKED.join(', '))} from history_jobs
    where root = ${root} ${chosen} and ${bounds}`
  const equal = (name: keyof JobRow, value: string) =>
    sql`${jobs(sql`and ${sql.ref(name)} = ${value}`)} ${inOrder}`
  // One of them chooses the index; the others are checked on the rows.
  if (group !== undefined) return equal('group_name', group)
  if (schedule !== undefined) return equal('schedule', schedule)
  if (errorCode !== undefined) return equal('error_code', errorCode)
  if (model !== undefined) return equal('model', model)
  if (status !== undefined) return equal('status', status)
  return sql`${jobs(sql``)} ${inOrder}`
}

/** All that the filter asks, of the row `j`; of the pairs, all but the first, which was scanned. */
export function matchesFilter({ root, filter, pairs }: Scan): RawBuilder<unknown> {
  const equal: [string, string | undefined][] = [
    ['status', filter.status],
    ['type', filter.type],
    ['group_name', filter.group],
    ['lane', filter.lane],
    ['schedule', filter.schedule],
    ['model', filter.model],
    ['error_code', filter.errorCode],
  ]
  const conditions = equal.flatMap(([name, value]) =>
    value === undefined ? [] : [sql`and ${sql.ref(`j.${name}`)} = ${value}`],
  )
  const { minCostUsd, finishedAfter, finishedBefore } = filter
  if (minCostUsd !== undefined) conditions.push(sql`and j.cost_nano >= ${Math.ceil(minCostUsd * 1e9)}`)
  if (finishedAfter !== undefined) conditions.push(sql`and j.finished_at >= ${finishedAfter}`)
  if (finishedBefore !== undefined) conditions.push(sql`and j.finished_at < ${finishedBefore}`)
  for (const pair of pairs.slice(1)) {
    conditions.push(sql`and exists (select 1 from history_metadata m where m.root = ${root}
      and m.pair = ${pair} and m.created_at = s.created_at and m.id = s.id)`)
  }
  return sql.join(conditions, sql` `)
}

/** Digests of the pairs of metadata that are asked for. */
export function pairsOf({ metadata = {} }: HistoryFilter): string[] {
  return Object.entries(metadata).map(([name, value]) => pairOf(name, value))
}
