import { type SqlBool, sql } from 'kysely'
import type { Database } from './database.ts'
import type { HistoryFilter, Place } from './filter.ts'
import { countKey, type Key, keysOfFilter, matchesFilter, type Scan, scanRows } from './scan.ts'
import { type JobRow, RowState } from './tables.ts'

/** Most rows that one page looks at; where a pair of metadata is looked up for each of them, fewer. */
const MOST_SCANNED = 10_000
const MOST_LOOKED_UP = 2500

/** Keys of a filter are told apart by how often they come, up to this. */
const MOST_COUNTED = 2000

/** `end`: the last place that was looked at, where the page ends for that and not because it is full; `scanned`: how many that were. */
export type FoundPage = { places: Place[]; end: Place | null; scanned: number }

export type Finder = {
  /** Rows of these ids that are shown, in any order. */
  rows(root: string, ids: readonly string[]): Promise<JobRow[]>
  /** Contents by their keys. */
  contents(root: string, keys: readonly string[]): Promise<Map<string, Buffer>>
  /** Where jobs that match stand, behind `after`. */
  page(
    root: string,
    filter: HistoryFilter,
    order: 'asc' | 'desc',
    after: Place | null,
    limit: number,
    mostScanned?: number,
  ): Promise<FoundPage>
  /** Jobs of a group by status, what they cost, and their calls without a price; only of blocks up to this one. */
  groupCounts(
    root: string,
    group: string,
    block: number,
  ): Promise<Map<string, { count: number; costNano: number; unpricedCalls: number }>>
  /** Groups by their last change, newest first, behind a place. */
  groups(
    root: string,
    limit: number,
    after: { group: string; at: number } | null,
  ): Promise<{ group: string; at: number }[]>
  /** The jobs of deliveries, by the ids of these. */
  jobsOfDeliveries(root: string, deliveries: readonly string[]): Promise<Map<string, string>>
  /** Failed jobs by lane and error code. */
  failures(root: string, block: number): Promise<FailureClass[]>
}

export type FailureClass = {
  lane: string
  code: string
  count: number
  first: number
  last: number
  isRetryable: boolean
}

export function createFinder(database: Database): Finder {
  const { reads, kind } = database

  /** The words of the index `history_jobs_unpriced`: most rows have none, and are not looked at. */
  const hasUnpriced =
    kind === 'postgres'
      ? sql<SqlBool>`position('"unpriced_calls"' in usage) > 0`
      : sql<SqlBool>`instr(usage, '"unpriced_calls"') > 0`
  const unpricedCalls =
    kind === 'postgres'
      ? sql<number>`sum((usage::json->>'unpriced_calls')::bigint)`
      : sql<number>`sum(json_extract(usage, '$.unpriced_calls'))`

  /** What finds the fewest rows of all that the filter asks: that is walked, and the rest is checked. */
  async function chooseKey(root: string, filter: HistoryFilter): Promise<Key | null> {
    const keys = keysOfFilter(filter)
    if (keys.length < 2) return keys[0] ?? null
    const counts = keys.map(
      (key, at) =>
        sql`select ${sql.lit(at)} as at, count from (${countKey(root, filter, key, MOST_COUNTED)}) counted`,
    )
    const { rows } = await sql<{ at: number; count: number }>`${sql.join(counts, sql` union all `)}`.execute(
      reads,
    )
    const sorted = rows.toSorted((a, b) => Number(a.count) - Number(b.count) || a.at - b.at)
    return keys[sorted[0]!.at]!
  }

  return {
    async rows(root, ids) {
      if (ids.length === 0) return []
      return reads
        .selectFrom('history_jobs')
        .selectAll()
        .where('root', '=', root)
        .where('id', 'in', ids)
        .where('state', '=', RowState.there)
        .execute()
    },

    async contents(root, keys) {
      if (keys.length === 0) return new Map()
      const rows = await reads
        .selectFrom('history_contents')
        .select(['key', 'value'])
        .where('root', '=', root)
        .where('key', 'in', keys)
        .execute()
      return new Map(rows.map(({ key, value }) => [key, toBuffer(value)]))
    },

    async page(root, filter, order, after, limit, mostScanned = MOST_SCANNED) {
      const asked: Scan = { root, filter, key: await chooseKey(root, filter), order, after }
      const most = filter.metadata === undefined ? mostScanned : Math.min(mostScanned, MOST_LOOKED_UP)
      const direction = sql.raw(order)
      const scanned = sql`(${scanRows(asked)} limit ${most})`
      // Without a join the database stops as soon as the page is full.
      const isJoined = asked.key !== null && 'pair' in asked.key
      const found = isJoined
        ? sql`${scanned} s join history_jobs j on j.root = ${root} and j.created_at = s.created_at and j.id = s.id`
        : sql`${scanned} j`
      // In the order of what was scanned: else SQLite would walk all jobs in that order, and look each up there.
      const place = sql.raw(isJoined ? 's' : 'j')
      const { rows } = await sql<{ created_at: number; id: string }>`
        select ${place}.created_at, ${place}.id from ${found}
        where j.state = ${RowState.there} ${matchesFilter(asked)}
        order by ${place}.created_at ${direction}, ${place}.id ${direction} limit ${limit}`.execute(reads)
      const places = rows.map(({ created_at, id }) => ({ createdAt: created_at, id }))
      if (places.length >= limit) return { places, end: null, scanned: most }
      const last = await sql<{ created_at: number; id: string }>`
        select created_at, id from (${scanRows(asked)} limit 1 offset ${most - 1}) s`.execute(reads)
      const [end] = last.rows
      return {
        places,
        end: end === undefined ? null : { createdAt: end.created_at, id: end.id },
        scanned: most,
      }
    },

    async groupCounts(root, group, block) {
      // An expression, or SQLite would walk an index by status instead of the group's.
      const status = sql<string>`lower(status)`
      const ofGroup = reads
        .selectFrom('history_jobs')
        .select(status.as('status'))
        .where('root', '=', root)
        .where('group_name', '=', group)
        .where('block', '<=', block)
        .groupBy(status)
      const [rows, unpriced] = await Promise.all([
        ofGroup
          .select(({ fn }) => [fn.countAll<number>().as('count'), fn.sum<number>('cost_nano').as('cost')])
          .execute(),
        ofGroup.select(unpricedCalls.as('calls')).where(hasUnpriced).execute(),
      ])
      const callsOf = new Map(unpriced.map(({ status: of, calls }) => [of, Number(calls)]))
      return new Map(
        rows.map(({ status: of, count, cost }) => [
          of,
          { count: Number(count), costNano: Number(cost), unpricedCalls: callsOf.get(of) ?? 0 },
        ]),
      )
    },

    async groups(root, limit, after) {
      let query = reads
        .selectFrom('history_groups')
        .select(['name', 'changed_at'])
        .where('root', '=', root)
        .orderBy('changed_at', 'desc')
        .orderBy('name', 'desc')
        .limit(limit)
      if (after !== null)
        query = query.where(sql<SqlBool>`(changed_at, name) < (${after.at}, ${after.group})`)
      return (await query.execute()).map(({ name, changed_at }) => ({ group: name, at: changed_at }))
    },

    async jobsOfDeliveries(root, deliveries) {
      if (deliveries.length === 0) return new Map()
      const rows = await reads
        .selectFrom('history_deliveries')
        .select(['id', 'job'])
        .where('root', '=', root)
        .where('id', 'in', deliveries)
        .execute()
      return new Map(rows.map(({ id, job }) => [id, job]))
    },

    async failures(root, block) {
      const rows = await reads
        .selectFrom('history_jobs')
        .select(({ fn }) => [
          'lane',
          'error_code',
          fn.countAll<number>().as('count'),
          fn.min<number>('finished_at').as('first'),
          fn.max<number>('finished_at').as('last'),
          fn.max<number>('retryable').as('retryable'),
        ])
        .where('root', '=', root)
        .where('error_code', 'is not', null)
        .where('state', '=', RowState.there)
        .where('block', '<=', block)
        .groupBy(['lane', 'error_code'])
        .execute()
      return rows.map(({ lane, error_code, count, first, last, retryable }) => ({
        lane,
        code: error_code!,
        count: Number(count),
        first: Number(first),
        last: Number(last),
        isRetryable: Number(retryable) === 1,
      }))
    },
  }
}

/** SQLite's driver gives arrays of bytes. */
function toBuffer(value: Uint8Array): Buffer {
  return Buffer.isBuffer(value) ? value : Buffer.from(value.buffer, value.byteOffset, value.byteLength)
}
