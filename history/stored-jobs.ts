import type { HistorySource } from '../jobs/history-source.ts'
import type { Job } from '../jobs/job.ts'
import { omitResult } from '../jobs/omission.ts'
import { type JobRecord, toJob, type View } from '../jobs/record.ts'
import { HistoryUnavailableError, LateAnswerError, NOT_AVAILABLE } from './errors.ts'
import type { Finder } from './find.ts'
import type { JobRow } from './tables.ts'
import { within } from './within.ts'

/** The number of jobs whose bodies and results are read at once. */
const CONTENTS_AT_ONCE = 50

/** How long a caller waits for the database by default, ms. */
const ANSWER_MS = 2500

/** A job of the history: its row, and its record as Redis held it, with the contents that were asked for. */
export type StoredJob = { row: JobRow; record: JobRecord }

/** The contents to read with each job. */
export type Contents = { bodies?: boolean; results?: boolean }

/** Reads jobs of the history as if they were in Redis. Throws `HistoryUnavailableError`. `root` is a tenant's. */
export type StoredJobs = {
  records(root: string, ids: readonly string[], contents: Contents): Promise<Map<string, StoredJob>>
  /** Jobs with their results. */
  jobs(root: string, ids: readonly string[]): Promise<Map<string, Job>>
  /** Jobs without their results. */
  summaries(root: string, ids: readonly string[]): Promise<Map<string, Job>>
  /** Returns the ids that Redis does not have. A job in Redis is shown from there. */
  onlyHere(root: string, ids: readonly string[]): Promise<Set<string>>
  /** Runs a query within the time limit, and turns a failure into a `HistoryUnavailableError`. */
  ask<T>(work: () => Promise<T>): Promise<T>
}

/** Learns from each query whether the database is available. */
export type DatabaseWatch = {
  /** Throws `HistoryUnavailableError` if the database is known to be away, so that callers need not wait for a timeout. */
  check(): void
  /** Resolves when the tables are up to date. After a failure, each call tries again. */
  ready(): Promise<void>
  succeeded(): void
  failed(error: unknown): void
  /** A query took too long; others may not. */
  late(): void
}

/** Creates the reader of jobs in the history. */
export function createStoredJobs(deps: {
  finder: Finder
  source: HistorySource
  view: (root: string) => View
  watch: DatabaseWatch
  /** How long a caller waits for the database, ms. */
  answerMs?: number
}): StoredJobs {
  const { finder, source, view, watch, answerMs = ANSWER_MS } = deps

  async function ask<T>(work: () => Promise<T>): Promise<T> {
    watch.check()
    try {
      const answer = await within(answerMs, watch.ready().then(work))
      watch.succeeded()
      return answer
    } catch (error) {
      // An error of a write was reported where the write failed.
      if (error instanceof HistoryUnavailableError) throw error
      if (!(error instanceof LateAnswerError)) watch.failed(error)
      else watch.late()
      const late = error instanceof LateAnswerError ? ` in time: ${error.message}` : ''
      throw new HistoryUnavailableError(`${NOT_AVAILABLE}${late}`, { cause: error })
    }
  }

  async function addContents(root: string, found: StoredJob[], { bodies, results }: Contents): Promise<void> {
    const keys = found.flatMap(({ row }) => [
      ...(bodies ? [`body:${row.id}`] : []),
      ...(results && row.result_key !== null ? [row.result_key] : []),
    ])
    if (keys.length === 0) return
    const contents = await ask(() => finder.contents(root, [...new Set(keys)]))
    for (const { row, record } of found) {
      const body = contents.get(`body:${row.id}`)
      const result = row.result_key === null ? undefined : contents.get(row.result_key)
      if (bodies && body) record.set('body', body)
      if (results && result) record.set('result', result)
    }
  }

  async function records(root: string, ids: readonly string[], contents: Contents) {
    if (ids.length === 0) return new Map<string, StoredJob>()
    const [rows, deleted] = await Promise.all([ask(() => finder.rows(root, ids)), source.deleted(root, ids)])
    const shown = rows.filter(({ id }) => !deleted.has(id))
    const found = shown.map((row) => ({ row, record: toRecord(row) }))
    for (let at = 0; at < found.length; at += CONTENTS_AT_ONCE) {
      await addContents(root, found.slice(at, at + CONTENTS_AT_ONCE), contents)
    }
    return new Map(found.map((one) => [one.row.id, one]))
  }

  return {
    ask,
    records,
    async jobs(root, ids) {
      const found = await records(root, ids, { results: true })
      return new Map([...found].map(([id, { record }]) => [id, toJob(id, record, view(root))]))
    },
    async summaries(root, ids) {
      const found = await records(root, ids, {})
      return new Map(
        [...found].map(([id, { row, record }]) => {
          const job = toJob(id, record, view(root))
          return [id, row.result_key === null ? job : omitResult(job)]
        }),
      )
    },
    async onlyHere(root, ids) {
      if (ids.length === 0) return new Set()
      const known = await source.known(root, ids)
      return new Set(ids.filter((id) => !known.has(id)))
    },
  }
}

/**
 * Leaves out two fields. `answer` names where Redis stored the result; here the record gets the result itself, or none. `carrying`
 * marks a call that was still running when the job was copied; it is over.
 */
function toRecord(row: JobRow): JobRecord {
  const { answer: _answer, carrying: _carrying, ...fields } = JSON.parse(row.record) as Record<string, string>
  return new Map(Object.entries(fields))
}
