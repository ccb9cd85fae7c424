import { type SqlBool, sql } from 'kysely'
import type { Database } from './database.ts'
import type { HistoryFilter, Place } from './filter.ts'
import { countKey, type Key, keysOfFilter, matchesFilter, type Scan, scanRows } from './scan.ts'
import { type JobRow, RowState } from './tables.ts'

/** The most rows that one page scans; fewer if it looks up a pair of metadata for each row. */
const MOST_SCANNED = 10_000
const MOST_LOOKED_UP = 2500

/** The most rows counted for each key of a filter, to choose the rarest. */
const MOST_COUNTED = 2000

/** `end`: the last place scanned, if the page ends there before it is full; `scanned`: how many rows were scanned. */
export type FoundPage = { places: Place[]; end: Place | null; scanned: number }

/** Finds rows of the history. `root` is a tenant's. Throws the database's errors; `StoredJobs.ask` turns them into `HistoryUnavailableError`. */
export type Finder = {
  /** Returns the visible rows with these ids, in any order. */
  rows(root: string, ids: readonly string[]): Promise<JobRow[]>
  /** Returns contents by their keys. */
  contents(root: string, keys: readonly string[]): Promise<Map<string, Buffer>>
  /** Returns the places of matching jobs after `after`. */
  page(
    root: string,
    filter: HistoryFilter,
    order: 'asc' | 'desc',
    after: Place | null,
    limit: number,
    mostScanned?: number,
  ): Promise<FoundPage>
  /** Counts a group's jobs by status, with their cost and their calls without a price. Only blocks up to `block` count. */
  groupCounts(
    root: string,
    group: string,
    block: number,
  ): Promise<Map<string, { count: number; costNano: number; unpricedCalls: number }>>
  /** Returns groups after a place, the latest change first. */
  groups(
    root: string,
    limit: number,
    after: { group: string; at: number } | null,
  ): Promise<{ group: string; at: number }[]>
  /** Returns the ids of jobs by the ids of their deliveries. */
  jobsOfDeliveries(root: string, deliveries: readonly string[]): Promise<Map<string, string>>
  /** Counts failed jobs by lane and error code. Only blocks up to `block` count. */
  failures(root: string, block: number): Promise<FailureClass[]>
}

/** Failed jobs of one lane and error code. `first` and `last`: when the first and the last of them ended, Unix ms. */
export type FailureClass = {
  lane: string
  code: string
  count: number
  first: number
  last: number
  isRetryable: boolean
}

/** Creates a finder that uses the database's connections for reads. */
export function createFinder(database: Database): Finder {
  const { reads, kind } = database

  /** Exactly the condition of the index `history_jobs_unpriced`, so that the query skips the many rows without such calls. */
  const hasUnpriced =
    kind === 'postgres'
      ? sql<SqlBool>`position('"unpriced_calls"' in usage) > 0`
      : sql<SqlBool>`instr(usage, '"unpriced_calls"') > 0`
  const unpricedCalls =
    kind === 'postgres'
      ? sql<number>`sum((usage::json->>'unpriced_calls')::bigint)`
      : sql<number>`sum(json_extract(usage, '$.unpriced_calls'))`

  /** Chooses the part of the filter that matches the fewest rows. The scan walks its index and checks the other parts. */
  async function chooseKey(root: string, filter: HistoryFilter): Promise<Key | null> {
    const keys = keysOfFilter(filter)
    if (keys.length < 2) return keys[0] ?? null
    const counts = keys.map(
      (key, at) =>
        sql`select ${sql.lit(at)} as at, count from (${countKey({ kind, root, filter }, key, MOST_COUNTED)}) counted`,
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
      const asked: Scan = { kind, root, filter, key: await chooseKey(root, filter), order, after }
      const most = filter.metadata === undefined ? mostScanned : Math.min(mostScanned, MOST_LOOKED_UP)
      const direction = sql.raw(order)
      const scanned = sql`(${scanRows(asked)} limit ${most})`
      // Avoids a join if it can: without one the database stops as soon as the page is full.
      const isJoined = asked.key !== null && 'pair' in asked.key
      const found = isJoined
        ? sql`${scanned} s join history_jobs j on j.root = ${root} and j.created_at = s.created_at and j.id = s.id`
        : sql`${scanned} j`
      // Orders by the columns of the scan. Otherwise SQLite would walk all jobs in that order and look up each in the scan.
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
      // Groups by an expression, because SQLite would otherwise walk an index by status instead of the group's.
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

/** SQLite's driver returns a Uint8Array. */
function toBuffer(value: Uint8Array): Buffer {
  return Buffer.isBuffer(value) ? value : Buffer.from(value.buffer, value.byteOffset, value.byteLength)
}
