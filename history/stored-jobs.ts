import type { HistorySource } from '../jobs/history-source.ts'
import type { Job } from '../jobs/job.ts'
import { omitResult } from '../jobs/omission.ts'
import { type JobRecord, toJob, type View } from '../jobs/record.ts'
import { HistoryUnavailableError, LateAnswerError, NOT_AVAILABLE } from './errors.ts'
import type { Finder } from './find.ts'
import type { JobRow } from './tables.ts'
import { within } from './within.ts'

/** Bodies and results of so many jobs are read at once. */
const CONTENTS_AT_ONCE = 50

/** How long a caller waits for the database unless told otherwise, ms. */
const ANSWER_MS = 2500

/** A job of the history: its row, and its record as Redis held it, with what was asked for of its contents. */
export type StoredJob = { row: JobRow; record: JobRecord }

export type Contents = { bodies?: boolean; results?: boolean }

/** Reads jobs of the history as if they were in Redis. Throws `HistoryUnavailableError`. `root` is a tenant's. */
export type StoredJobs = {
  records(root: string, ids: readonly string[], contents: Contents): Promise<Map<string, StoredJob>>
  /** Whole jobs. */
  jobs(root: string, ids: readonly string[]): Promise<Map<string, Job>>
  /** Without their results. */
  summaries(root: string, ids: readonly string[]): Promise<Map<string, Job>>
  /** Of these, those that Redis has not: it knows better. */
  onlyHere(root: string, ids: readonly string[]): Promise<Set<string>>
  /** Waits for the database only so long, and says what it means that it does not answer. */
  ask<T>(work: () => Promise<T>): Promise<T>
}

/** What is told of each question to the database, to know whether it is there. */
export type DatabaseWatch = {
  /** Throws where it did not answer a moment ago: who asks then does not wait for the same. */
  check(): void
  /** Resolves when the tables are there. Tries again whenever it is asked. */
  ready(): Promise<void>
  succeeded(): void
  failed(error: unknown): void
  /** One question took too long, which others may not. */
  late(): void
}

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
      // One that is about a write was noted where it was written.
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
 * `answer` names where Redis had the result; here it is part of the record, or not there. A call that went on when the job was copied
 * (`carrying`) is over.
 */
function toRecord(row: JobRow): JobRecord {
  const { answer: _answer, carrying: _carrying, ...fields } = JSON.parse(row.record) as Record<string, string>
  return new Map(Object.entries(fields))
}
