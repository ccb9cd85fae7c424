import { type RawBuilder, type SqlBool, sql } from 'kysely'
import { JobStatus } from '../jobs/job.ts'
import type { DatabaseKind } from './database.ts'
import type { HistoryFilter, Place } from './filter.ts'
import { pairOf } from './finished-job.ts'
import type { JobRow } from './tables.ts'

/** The columns that `matchesFilter` checks. The index of lists contains all of them, so the scan reads no rows, which are large. */
const CHECKED = [
  ...['created_at', 'id', 'state', 'status', 'type', 'lane', 'group_name', 'schedule', 'model', 'error_code'],
  ...['cost_nano', 'finished_at'],
]

/** The columns with an index of their own, and its name. Each index is in the order of lists behind its column. */
const INDEXES = {
  group_name: 'history_jobs_grouped',
  schedule: 'history_jobs_schedule',
  error_code: 'history_jobs_error',
  status: 'history_jobs_not_completed',
  model: 'history_jobs_model',
} as const satisfies Partial<Record<keyof JobRow, string>>

type IndexedColumn = keyof typeof INDEXES

/** A condition that one index can answer: a metadata pair, given by its digest, or a value in a column. */
export type Key = { pair: string } | { column: IndexedColumn; value: string }

/** One scan over a tenant's rows. */
export type Scan = {
  kind: DatabaseKind
  root: string
  filter: HistoryFilter
  /** The condition whose index is walked; null: walks all rows of the tenant. */
  key: Key | null
  order: 'asc' | 'desc'
  after: Place | null
}

/** The parts of a filter that have an index, usually the rarest first. */
export function keysOfFilter(filter: HistoryFilter): Key[] {
  const columns: [IndexedColumn, string | undefined][] = [
    ['group_name', filter.group],
    ['schedule', filter.schedule],
    ['error_code', filter.errorCode],
  ]
  const toKeys = (some: typeof columns) =>
    some.flatMap(([column, value]) => (value === undefined ? [] : [{ column, value }]))
  // Most jobs are completed. The index by status leaves them out, so such a scan walks all rows.
  const status = filter.status === JobStatus.completed ? undefined : filter.status
  return [
    ...toKeys(columns),
    ...pairsOf(filter).map((pair) => ({ pair })),
    ...toKeys([
      ['status', status],
      ['model', filter.model],
    ]),
  ]
}

/** SQL that counts the rows of a key within the filter's times of creation, up to `most`. */
export function countKey(
  { kind, root, filter }: Pick<Scan, 'kind' | 'root' | 'filter'>,
  key: Key,
  most: number,
): RawBuilder<unknown> {
  return sql`select count(*) as count from (
    select 1 ${from(kind, root, key)} and ${within(filter)} limit ${sql.lit(most)}) found`
}

function from(kind: DatabaseKind, root: string, key: Key | null): RawBuilder<unknown> {
  if (key === null) return sql`from history_jobs where root = ${root}`
  if ('pair' in key) return sql`from history_metadata where root = ${root} and pair = ${key.pair}`
  // Repeats the condition of the partial index of jobs that are not completed; otherwise the database would not use it.
  const words = key.column === 'status' ? sql`and status <> 'completed'` : sql``
  // SQLite would walk all jobs in the index of lists: it has every column that is checked, and SQLite does not know how rare a value is.
  const table =
    kind === 'sqlite' ? sql`history_jobs indexed by ${sql.ref(INDEXES[key.column])}` : sql`history_jobs`
  return sql`from ${table} where root = ${root} and ${sql.ref(key.column)} = ${key.value} ${words}`
}

function within({ createdAfter, createdBefore }: HistoryFilter): RawBuilder<unknown> {
  return sql`true
    ${createdAfter === undefined ? sql`` : sql`and created_at >= ${createdAfter}`}
    ${createdBefore === undefined ? sql`` : sql`and created_at < ${createdBefore}`}`
}

/** SQL for the rows that a page scans, in order. */
export function scanRows({ kind, root, filter, key, order, after }: Scan): RawBuilder<unknown> {
  const place =
    after === null
      ? sql<SqlBool>`true`
      : order === 'desc'
        ? sql<SqlBool>`(created_at, id) < (${after.createdAt}, ${after.id})`
        : sql<SqlBool>`(created_at, id) > (${after.createdAt}, ${after.id})`
  const direction = sql.raw(order)
  const columns = key !== null && 'pair' in key ? ['created_at', 'id'] : CHECKED
  return sql`select ${sql.raw(columns.join(', '))} ${from(kind, root, key)} and ${place} and ${within(filter)}
    order by created_at ${direction}, id ${direction}`
}

/** SQL that checks row `j` against the whole filter, except the metadata pair that the scan walks. */
export function matchesFilter({ root, filter, key }: Scan): RawBuilder<unknown> {
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
  for (const pair of pairsOf(filter)) {
    if (key !== null && 'pair' in key && key.pair === pair) continue
    conditions.push(sql`and exists (select 1 from history_metadata m where m.root = ${root}
      and m.pair = ${pair} and m.created_at = j.created_at and m.id = j.id)`)
  }
  return sql.join(conditions, sql` `)
}

/** The digests of the filter's metadata pairs. */
function pairsOf({ metadata = {} }: HistoryFilter): string[] {
  return Object.entries(metadata).map(([name, value]) => pairOf(name, value))
}
