import { chmodSync } from 'node:fs'
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import { parentPort, workerData } from 'node:worker_threads'

/** A statement for the thread. With `many`, it runs once for each of these rows of parameters. */
export type ThreadAsk = {
  id: number
  sql: string
  parameters: readonly unknown[]
  many: readonly (readonly unknown[])[] | null
}

/** The rows and the number of changed rows, or the error. */
export type ThreadAnswer =
  | { id: number; rows: Record<string, unknown>[]; changes: number }
  | { id: number; error: { message: string; code: string | null; errcode: number | null } }

/** The most statements kept compiled. */
const MOST_STATEMENTS = 200

/** How long a writer waits for another process, ms. */
const BUSY_MS = 5000
/** SQLITE_BUSY, and the wait between two tries where SQLite does not wait by itself, ms. */
const BUSY = 5
const BUSY_PAUSE_MS = 20

/** The memory for cached pages, KiB, and the number of pages in the log that starts a checkpoint. */
const CACHE_KIB = 16 * 1024
const LOG_PAGES = 1000

/** The page size of a new file, bytes. A block of jobs is about a megabyte, so large pages need fewer writes. An existing file keeps its size. */
const PAGE_BYTES = 16 * 1024

const { path } = workerData as { path: string }
const database = new DatabaseSync(path, { timeout: BUSY_MS })
// The file contains prompts and answers. SQLite gives the files beside it the same mode.
chmodSync(path, 0o600)
database.exec(`PRAGMA page_size = ${PAGE_BYTES}`)
// A commit must be on the disk when it returns, because Redis then deletes what was committed here.
useLog()
database.exec('PRAGMA synchronous = FULL; PRAGMA secure_delete = ON')
// Pages that every block changes stay in memory, and are written to the file less often.
database.exec(`PRAGMA cache_size = -${CACHE_KIB}; PRAGMA wal_autocheckpoint = ${LOG_PAGES}`)
const statements = new Map<string, StatementSync>()

/** Turns on the write-ahead log. SQLite does not wait for other processes at this step, and several may start at once. */
function useLog(): void {
  const until = performance.now() + BUSY_MS
  for (;;) {
    try {
      database.exec('PRAGMA journal_mode = WAL')
      return
    } catch (error) {
      if ((error as { errcode?: number }).errcode !== BUSY || performance.now() > until) throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BUSY_PAUSE_MS)
    }
  }
}

function prepare(sql: string): StatementSync {
  const known = statements.get(sql)
  if (known) return known
  const statement = database.prepare(sql)
  if (statements.size >= MOST_STATEMENTS) statements.delete(statements.keys().next().value!)
  statements.set(sql, statement)
  return statement
}

function run({ id, sql, parameters, many }: ThreadAsk): ThreadAnswer {
  // SQLite rolls back by itself if the disk is full or fails. Then a rollback must not fail, or it would hide the first error.
  if (sql === 'rollback' && !database.isTransaction) return { id, rows: [], changes: 0 }
  const statement = prepare(sql)
  if (many !== null) {
    let changes = 0
    for (const values of many) changes += Number(statement.run(...(values as SQLInputValue[])).changes)
    return { id, rows: [], changes }
  }
  if (statement.columns().length > 0) {
    return { id, rows: statement.all(...(parameters as SQLInputValue[])), changes: 0 }
  }
  return { id, rows: [], changes: Number(statement.run(...(parameters as SQLInputValue[])).changes) }
}

parentPort!.on('message', (ask: ThreadAsk | 'close') => {
  if (ask === 'close') {
    database.close()
    parentPort!.close()
    return
  }
  let answer: ThreadAnswer
  try {
    answer = run(ask)
  } catch (error) {
    const { message, code = null, errcode = null } = error as Error & { code?: string; errcode?: number }
    answer = { id: ask.id, error: { message, code, errcode } }
  }
  parentPort!.postMessage(answer)
})
