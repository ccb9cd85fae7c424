import type { Transaction } from 'kysely'
import type { Database, ManyInserts } from './database.ts'
import { type FinishedJob, metadataPairs } from './finished-job.ts'
import type { JobRow, Tables } from './tables.ts'

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

/** Writes the rows of finished jobs of one tenant, inside the caller's transaction. */
export type RowWriter = {
  /** Writes rows of `history_jobs`; replaces known ones unless `conflict` says otherwise. Resolves to how many were written. */
  insertJobs(trx: Transaction<Tables>, rows: readonly JobRow[], conflict?: string): Promise<number>
  /** Writes bodies and results. A key that is known keeps its value. */
  insertContents(trx: Transaction<Tables>, root: string, jobs: readonly FinishedJob[]): Promise<void>
  /** Writes the rows that find jobs: by metadata, by delivery and by group. */
  insertPlaces(trx: Transaction<Tables>, root: string, jobs: readonly FinishedJob[]): Promise<void>
}

/** Creates the writer of rows for a database. */
export function createRowWriter(database: Database): RowWriter {
  const later = database.kind === 'postgres' ? 'greatest' : 'max'

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
      // All writers use this order, so that two of them cannot deadlock.
      rows: [...groups].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, at]) => [root, name, at]),
      conflict: `on conflict (root, name) do update set changed_at = ${later}(history_groups.changed_at, excluded.changed_at)`,
    })
  }

  return { insertJobs, insertContents, insertPlaces }
}
