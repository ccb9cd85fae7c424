import type { RemovedJob } from '../jobs/history-source.ts'
import type { Database } from './database.ts'
import { type FinishedJob, toRow } from './finished-job.ts'
import { createRowWriter } from './row-writer.ts'
import { type JobRow, RowState } from './tables.ts'
import { deleteAnswers, deleteContents, deleteEmptyGroups } from './unreferenced.ts'
import { addToUsage, parseContribution, type UsageContribution } from './usage-sums.ts'

/** How long a deletion is remembered, ms. Meanwhile a copy that was read before the deletion does not bring the job back. */
const DELETION_MS = 86_400_000

/** How long the row of a reopened job is kept, ms. The job is in Redis, and the copy of its next end replaces the row. */
const OPEN_MS = 400 * 86_400_000

/** The most rows that one `expire` deletes. */
const BLOCK = 500

/** Writes to the history. `root` is a tenant's. Every write may be repeated. Throws the database's errors; `guardStore` turns those of an unavailable database into `HistoryUnavailableError`. */
export type HistoryStore = {
  /**
   * Saves ended jobs of one tenant in one transaction. A job that is saved twice is one row and counts once. A deleted job stays deleted.
   * A late copy of an earlier end changes nothing.
   *
   * @param block the number of the block; `groupCounts` of the finder uses it
   * @param lifeMs how long each job is kept after its end, ms
   */
  save(root: string, block: number, jobs: readonly FinishedJob[], lifeMs: number): Promise<void>
  /**
   * Deletes a job and all its contents. Resolves to null if the history did not have it.
   *
   * @param now Unix ms
   * @param isKnown true if Redis had the job: the deletion is remembered, because a copy may still come
   */
  remove(root: string, id: string, now: number, isKnown: boolean): Promise<RemovedJob | null>
  /** Replaces the fields of a delivery that continued after its job was saved. Does nothing if the history does not have the job. */
  updateDelivery(root: string, fields: Readonly<Record<string, string>>): Promise<void>
  /**
   * Hides a job that continues in Redis, until it is saved again.
   *
   * @param endedAt the end after which it was reopened, Unix ms; a job that was saved with another end stays visible
   */
  reopen(root: string, id: string, endedAt: number, now: number): Promise<void>
  /** Deletes jobs whose time is over, at most 500, and sums of days before `firstDay`. Resolves to the number of jobs. */
  expire(now: number, firstDay: string): Promise<number>
}

/** Rolls back the transaction of `insertNew`. */
class KnownJobsError extends Error {
  override readonly name = 'KnownJobsError'
}

/** Creates the store. The tables must be up to date; see `migrate`. */
export function createHistoryStore(database: Database): HistoryStore {
  const { db } = database
  const { insertJobs, insertContents, insertPlaces } = createRowWriter(database)

  /** Inserts jobs that are all new, which is the usual case. False: the history has some of them, and none was written. */
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
          // A job that was reopened meanwhile has a later time, so the condition is checked again.
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

/** True if the copy is of an earlier end than the row. A later end has more events, even if Redis' clock was set back. */
function isOlder(
  { record, eventCount }: FinishedJob,
  row: Pick<JobRow, 'finished_at' | 'event_count'>,
): boolean {
  return Number(record.finished_at) < row.finished_at && eventCount <= row.event_count
}

/** A row that only remembers that the job was deleted. */
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
