import { type SqlBool, sql } from 'kysely'
import type { Database } from './database.ts'
import type { HistoryFilter, Place } from './filter.ts'
import { matchesFilter, pairsOf, type Scan, scanRows } from './scan.ts'
import { type JobRow, RowState } from './tables.ts'

/** Most rows that one page looks at. */
const MOST_SCANNED = 10_000

/** Pairs of metadata are told apart by how often they come, up to this. */
const MOST_COUNTED = 2000

/** `end`: the last place that was looked at, where the page ends for that and not because it is full. */
export type FoundPage = { places: Place[]; end: Place | null }

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

  const toUnpriced =
    kind === 'postgres'
      ? sql`(usage::json->>'unpriced_calls')::bigint`
      : sql`json_extract(usage, '$.unpriced_calls')`
  // Most rows have none, and are not parsed.
  const unpricedCalls = sql<number>`sum(case when usage like '%"unpriced_calls"%' then coalesce(${toUnpriced}, 0) else 0 end)`

  /** Pairs of metadata with the rarest first: that one is walked, and the others are looked up. */
  async function orderPairs(root: string, pairs: string[]): Promise<string[]> {
    if (pairs.length < 2) return pairs
    const counts = pairs.map(
      (pair, at) => sql`select ${sql.lit(at)} as at, count(*) as count from (
        select 1 from history_metadata where root = ${root} and pair = ${pair} limit ${sql.lit(MOST_COUNTED)}) found`,
    )
    const { rows } = await sql<{ at: number; count: number }>`${sql.join(counts, sql` union all `)}`.execute(
      reads,
    )
    return rows.toSorted((a, b) => a.count - b.count).map(({ at }) => pairs[at]!)
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
      const pairs = await orderPairs(root, pairsOf(filter))
      const asked: Scan = { root, filter, pairs, order, after }
      const direction = sql.raw(order)
      const scanned = sql`(${scanRows(asked)} limit ${mostScanned})`
      // Without a join the database stops as soon as the page is full.
      const isJoined = pairs.length > 0
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
      if (places.length >= limit) return { places, end: null }
      const last = await sql<{ created_at: number; id: string }>`
        select created_at, id from (${scanRows(asked)} limit 1 offset ${mostScanned - 1}) s`.execute(reads)
      const [end] = last.rows
      return { places, end: end === undefined ? null : { createdAt: end.created_at, id: end.id } }
    },

    async groupCounts(root, group, block) {
      const rows = await reads
        .selectFrom('history_jobs')
        .select(({ fn }) => [
          // An expression, or SQLite would walk the whole index by status instead of the group's.
          fn<string>('lower', ['status']).as('status'),
          fn.countAll<number>().as('count'),
          fn.sum<number>('cost_nano').as('cost'),
          unpricedCalls.as('unpriced'),
        ])
        .where('root', '=', root)
        .where('group_name', '=', group)
        .where('block', '<=', block)
        .groupBy(({ fn }) => fn<string>('lower', ['status']))
        .execute()
      return new Map(
        rows.map(({ status, count, cost, unpriced }) => [
          status,
          { count: Number(count), costNano: Number(cost), unpricedCalls: Number(unpriced) },
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
