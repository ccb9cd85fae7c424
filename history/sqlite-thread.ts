import { chmodSync } from 'node:fs'
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import { parentPort, workerData } from 'node:worker_threads'

/** A statement for the thread; with `many`, it is run once for each of these lists of parameters. */
export type ThreadAsk = {
  id: number
  sql: string
  parameters: readonly unknown[]
  many: readonly (readonly unknown[])[] | null
}

/** Rows, and how many a change changed; or why it failed. */
export type ThreadAnswer =
  | { id: number; rows: Record<string, unknown>[]; changes: number }
  | { id: number; error: { message: string; code: string | null; errcode: number | null } }

/** Statements kept compiled. */
const MOST_STATEMENTS = 200

/** How long a writer waits for another process, ms. */
const BUSY_MS = 5000
/** SQLITE_BUSY, and between two tries where it does not wait by itself, ms. */
const BUSY = 5
const BUSY_PAUSE_MS = 20

/** Most memory for pages of the file, KiB, and pages in the log before they go to the file. */
const CACHE_KIB = 16 * 1024
const LOG_PAGES = 1000

/** Bytes of a page of a new file. A block of jobs is some megabyte: large pages are fewer writes. A file keeps the size that it has. */
const PAGE_BYTES = 16 * 1024

const { path } = workerData as { path: string }
const database = new DatabaseSync(path, { timeout: BUSY_MS })
// It holds prompts and answers. SQLite gives the files beside it the same mode.
chmodSync(path, 0o600)
database.exec(`PRAGMA page_size = ${PAGE_BYTES}`)
// A commit is on the disk when it is answered: what is committed here is forgotten elsewhere.
useLog()
database.exec('PRAGMA synchronous = FULL; PRAGMA secure_delete = ON')
// Pages that each block writes anew stay in memory, and go from the log to the file more seldom.
database.exec(`PRAGMA cache_size = -${CACHE_KIB}; PRAGMA wal_autocheckpoint = ${LOG_PAGES}`)
const statements = new Map<string, StatementSync>()

/** SQLite waits for nobody here, and processes start at the same time. */
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
  // SQLite rolls back by itself where the disk is full or failing. Why it did is what is told, not that nothing is left to do.
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
