import type { Transaction } from 'kysely'
import type { RemovedJob } from '../jobs/history-source.ts'
import type { Database, ManyInserts } from './database.ts'
import { type FinishedJob, metadataPairs, toRow } from './finished-job.ts'
import { type JobRow, RowState, type Tables } from './tables.ts'
import { deleteAnswers, deleteContents, deleteEmptyGroups } from './unreferenced.ts'
import { addToUsage, parseContribution, type UsageContribution } from './usage-sums.ts'

/** How long a deletion is remembered, so that a copy that was read before it brings nothing back, ms. */
const DELETION_MS = 86_400_000

/** A job that is open again is in Redis; its row waits there for the copy of its next end, at most this long, ms. */
const OPEN_MS = 400 * 86_400_000

/** Rows that are deleted in one transaction. */
const BLOCK = 500

export type HistoryStore = {
  /**
   * Writes ended jobs of one tenant, all or none. Written again, they are the same rows, and count once. What was deleted stays so, and
   * a copy of an earlier end, which comes late, changes nothing.
   *
   * @param block number of the block; see `groupCounts` of the reader
   * @param lifeMs how long after its end each is kept
   */
  save(root: string, block: number, jobs: readonly FinishedJob[], lifeMs: number): Promise<void>
  /**
   * Deletes a job and all of its contents. Null: it was not there.
   *
   * @param isKnown Redis had it: a copy may be on its way, and is not to bring it back
   */
  remove(root: string, id: string, now: number, isKnown: boolean): Promise<RemovedJob | null>
  /** The delivery of a job went on after the job was saved. One of a job that is not there is left out. */
  updateDelivery(root: string, fields: Readonly<Record<string, string>>): Promise<void>
  /**
   * Redis has the job, and it goes on there: nothing of it is shown from here until it is saved again.
   *
   * @param endedAt the end that it goes on from, Unix ms: a job that was saved with a later end stays
   */
  reopen(root: string, id: string, endedAt: number, now: number): Promise<void>
  /** Deletes jobs whose time is over, and sums of days before `firstDay`; answers how many jobs. At most some hundred at a time. */
  expire(now: number, firstDay: string): Promise<number>
}

const JOB_COLUMNS = [
  ['root', 'text'],
  ['id', 'text'],
  ['state', 'bigint'],
  ['created_at', 'bigint'],
  ['finished_at', 'bigint'],
  ['expires_at', 'bigint'],
  ['block', 'bigint'],
  ['status', 'text'],
  ['type', 'text'],
  ['model', 'text'],
  ['lane', 'text'],
  ['group_name', 'text'],
  ['schedule', 'text'],
  ['error_code', 'text'],
  ['retryable', 'bigint'],
  ['cost_nano', 'bigint'],
  ['result_key', 'text'],
  ['event_count', 'bigint'],
  ['usage', 'text'],
  ['record', 'text'],
  ['attempts', 'text'],
  ['deliveries', 'text'],
] as const satisfies ManyInserts['columns']

const UPDATE_ALL = `on conflict (root, id) do update set ${JOB_COLUMNS.slice(2)
  .map(([name]) => `${name} = excluded.${name}`)
  .join(', ')}`

/** Ends the transaction. */
class KnownJobsError extends Error {
  override readonly name = 'KnownJobsError'
}

export function createHistoryStore(database: Database): HistoryStore {
  const { db, kind } = database
  const later = kind === 'postgres' ? 'greatest' : 'max'

  async function insertJobs(
    trx: Transaction<Tables>,
    rows: readonly JobRow[],
    conflict = UPDATE_ALL,
  ): Promise<number> {
    return database.insertMany(trx, {
      table: 'history_jobs',
      columns: JOB_COLUMNS,
      rows: rows.map((row) => JOB_COLUMNS.map(([name]) => row[name])),
      conflict,
    })
  }

  async function insertContents(trx: Transaction<Tables>, root: string, jobs: readonly FinishedJob[]) {
    const contents = new Map<string, Buffer>()
    for (const { id, body, result } of jobs) {
      if (body !== null) contents.set(`body:${id}`, body)
      if (result !== null) contents.set(result.key, result.value)
    }
    await database.insertMany(trx, {
      table: 'history_contents',
      columns: [
        ['root', 'text'],
        ['key', 'text'],
        ['value', 'bytea'],
      ],
      rows: [...contents].map(([key, value]) => [root, key, value]),
      conflict: 'on conflict (root, key) do nothing',
    })
  }

  async function insertPlaces(trx: Transaction<Tables>, root: string, jobs: readonly FinishedJob[]) {
    await database.insertMany(trx, {
      table: 'history_metadata',
      columns: [
        ['root', 'text'],
        ['pair', 'text'],
        ['created_at', 'bigint'],
        ['id', 'text'],
      ],
      rows: jobs.flatMap((job) =>
        metadataPairs(job.record).map((pair) => [root, pair, Number(job.record.created_at), job.id]),
      ),
      conflict: 'on conflict do nothing',
    })
    await database.insertMany(trx, {
      table: 'history_deliveries',
      columns: [
        ['root', 'text'],
        ['id', 'text'],
        ['job', 'text'],
      ],
      rows: jobs.flatMap(({ id, deliveries }) => deliveries.map((delivery) => [root, delivery, id])),
      conflict: 'on conflict do nothing',
    })
    const groups = new Map<string, number>()
    for (const { record } of jobs) {
      if (record.group === undefined) continue
      groups.set(record.group, Math.max(groups.get(record.group) ?? 0, Number(record.finished_at)))
    }
    await database.insertMany(trx, {
      table: 'history_groups',
      columns: [
        ['root', 'text'],
        ['name', 'text'],
        ['changed_at', 'bigint'],
      ],
      // In one order, as all rows that several writers may want.
      rows: [...groups].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, at]) => [root, name, at]),
      conflict: `on conflict (root, name) do update set changed_at = ${later}(history_groups.changed_at, excluded.changed_at)`,
    })
  }

  /** Writes jobs that are not there, as nearly all are that come. False: some are, and none was written. */
  async function insertNew(
    root: string,
    block: number,
    jobs: readonly FinishedJob[],
    lifeMs: number,
  ): Promise<boolean> {
    try {
      await database.change(root, async (trx) => {
        const rows = jobs.map((job) => toRow(root, block, job, lifeMs))
        const written = await insertJobs(trx, rows, 'on conflict (root, id) do nothing')
        if (written < jobs.length) throw new KnownJobsError('the history has some of these jobs')
        await insertContents(trx, root, jobs)
        await insertPlaces(trx, root, jobs)
        await addToUsage(
          database,
          trx,
          root,
          jobs.map(({ usage }) => [usage, 1]),
        )
      })
      return true
    } catch (error) {
      if (error instanceof KnownJobsError) return false
      throw error
    }
  }

  return {
    async save(root, block, jobs, lifeMs) {
      if (jobs.length === 0) return
      if (jobs.every(({ isNew }) => isNew) && (await insertNew(root, block, jobs, lifeMs))) return
      await database.change(root, async (trx) => {
        const known = await trx
          .selectFrom('history_jobs')
          .select(['id', 'state', 'block', 'usage', 'finished_at', 'event_count', 'result_key'])
          .where('root', '=', root)
          .where(
            'id',
            'in',
            jobs.map(({ id }) => id),
          )
          .execute()
        const before = new Map(known.map((row) => [row.id, row]))
        const kept = jobs.filter((job) => {
          const row = before.get(job.id)
          return row === undefined || (row.state !== RowState.deleted && !isOlder(job, row))
        })
        if (kept.length === 0) return
        await insertJobs(
          trx,
          kept.map((job) => {
            const own = job.isMarked ? (before.get(job.id)?.block ?? block) : block
            return toRow(root, own, job, lifeMs)
          }),
        )
        await insertContents(trx, root, kept)
        await deleteAnswers(
          trx,
          root,
          kept.flatMap(({ id, result }) => {
            const key = before.get(id)?.result_key ?? null
            return key === null || key === result?.key ? [] : [key]
          }),
        )
        await insertPlaces(trx, root, kept)
        const changes: [UsageContribution, 1 | -1][] = kept.flatMap(({ id, usage }) => {
          const counted = before.get(id)
          return counted === undefined
            ? [[usage, 1] as const]
            : [[parseContribution(counted.usage), -1] as const, [usage, 1] as const]
        }) as [UsageContribution, 1 | -1][]
        await addToUsage(database, trx, root, changes)
      })
    },

    async remove(root, id, now, isKnown) {
      const removed = await database.change(root, async (trx) => {
        const [row] = await trx
          .selectFrom('history_jobs')
          .select(['id', 'state', 'result_key', 'record', 'group_name', 'deliveries'])
          .where('root', '=', root)
          .where('id', '=', id)
          .execute()
        if (row !== undefined || isKnown) await insertJobs(trx, [toDeletion(root, id, now)])
        if (row === undefined || row.state === RowState.deleted) return null
        await deleteContents(trx, root, [row])
        await deleteEmptyGroups(trx, root, row.group_name === null ? [] : [row.group_name])
        const { key = null } = JSON.parse(row.record) as { key?: string }
        const deliveries = (JSON.parse(row.deliveries) as { id: string }[]).map((one) => one.id)
        return { idempotencyKey: key, deliveries }
      })
      if (removed !== null) await database.scrub()
      return removed
    },

    async updateDelivery(root, fields) {
      await database.change(root, async (trx) => {
        const [row] = await trx
          .selectFrom('history_jobs')
          .select(['id', 'deliveries'])
          .where('root', '=', root)
          .where('id', '=', fields.job_id!)
          .where('state', '!=', RowState.deleted)
          .execute()
        if (row === undefined) return
        const known = JSON.parse(row.deliveries) as Record<string, string>[]
        const deliveries = JSON.stringify(known.map((one) => (one.id === fields.id ? fields : one)))
        if (deliveries === row.deliveries) return
        await trx
          .updateTable('history_jobs')
          .set({ deliveries })
          .where('root', '=', root)
          .where('id', '=', row.id)
          .execute()
      })
    },

    async reopen(root, id, endedAt, now) {
      await db
        .updateTable('history_jobs')
        .set({ state: RowState.open, expires_at: now + OPEN_MS })
        .where('root', '=', root)
        .where('id', '=', id)
        .where('finished_at', '=', endedAt)
        .where('state', '=', RowState.there)
        .execute()
    },

    async expire(now, firstDay) {
      const over = await db
        .selectFrom('history_jobs')
        .select(['root', 'id'])
        .where('expires_at', '<=', now)
        .orderBy('expires_at')
        .limit(BLOCK)
        .execute()
      for (const [root, rows] of Map.groupBy(over, (row) => row.root)) {
        await database.change(root, async (trx) => {
          // What was opened again meanwhile has another time.
          const gone = await trx
            .deleteFrom('history_jobs')
            .where('root', '=', root)
            .where(
              'id',
              'in',
              rows.map(({ id }) => id),
            )
            .where('expires_at', '<=', now)
            .returning(['id', 'result_key', 'group_name'])
            .execute()
          if (gone.length === 0) return
          await deleteContents(trx, root, gone)
          await deleteEmptyGroups(trx, root, [...new Set(gone.flatMap(({ group_name }) => group_name ?? []))])
        })
      }
      await db.deleteFrom('history_usage').where('day', '<', firstDay).execute()
      if (over.length > 0) await database.scrub()
      return over.length
    },
  }
}

/** Whether the copy is of an earlier end than the row. Later ones have more events, also where Redis' clock was set back. */
function isOlder(
  { record, eventCount }: FinishedJob,
  row: Pick<JobRow, 'finished_at' | 'event_count'>,
): boolean {
  return Number(record.finished_at) < row.finished_at && eventCount <= row.event_count
}

/** A row that says only that there is no such job. */
function toDeletion(root: string, id: string, now: number): JobRow {
  return {
    ...{
      root,
      id,
      state: RowState.deleted,
      created_at: now,
      finished_at: now,
      expires_at: now + DELETION_MS,
    },
    ...{ block: 0, status: 'deleted', type: '', model: '', lane: '', group_name: null, schedule: null },
    ...{ error_code: null, retryable: 0, cost_nano: 0, result_key: null, event_count: 0, usage: '{}' },
    ...{ record: '{}', attempts: '{}', deliveries: '[]' },
  }
}
