import { mkdirSync } from 'node:fs'
import { dirname, extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import {
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely'
import { DatabaseError } from './errors.ts'
import type { ThreadAnswer, ThreadAsk } from './sqlite-thread.ts'

/** The thread's module lies beside this file, with the same extension: `.ts`, or `.js` once compiled. */
const threadUrl = new URL(`./sqlite-thread${extname(import.meta.filename)}`, import.meta.url)

/** As the only parameter of a statement: the thread runs the statement once for each row, in one message. */
export class ManyRows {
  readonly rows: readonly (readonly unknown[])[]
  constructor(rows: readonly (readonly unknown[])[]) {
    this.rows = rows
  }
}

/**
 * SQLite through `node:sqlite` on its own thread. Its calls block their thread, and a list of many rows or a commit to a slow disk
 * must not hold up jobs. There is one connection; callers wait for their turn.
 *
 * @param path the database file; its folder is created
 */
export function createSqliteDialect(path: string): Dialect {
  return {
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => createDriver(path),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  }
}

type Pending = { resolve(answer: { rows: unknown[]; changes: number }): void; reject(error: Error): void }

function createThread(path: string) {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const worker = new Worker(threadUrl, { workerData: { path } })
  worker.unref()
  const pending = new Map<number, Pending>()
  let next = 0
  let dead: Error | null = null
  const end = (error: Error) => {
    dead ??= error
    for (const { reject } of pending.values()) reject(dead)
    pending.clear()
    worker.unref()
  }
  worker.on('error', (error) => end(new DatabaseError(`SQLite: ${(error as Error).message}`, null)))
  worker.on('exit', () => end(new DatabaseError('SQLite: its thread has ended', null)))
  worker.on('message', (answer: ThreadAnswer) => {
    const waiting = pending.get(answer.id)
    pending.delete(answer.id)
    if (pending.size === 0) worker.unref()
    if ('error' in answer) {
      const { message, errcode } = answer.error
      waiting?.reject(new DatabaseError(`SQLite: ${message}`, errcode === null ? null : String(errcode)))
    } else waiting?.resolve(answer)
  })
  return {
    isDead: () => dead !== null,
    run(sql: string, parameters: readonly unknown[]): Promise<{ rows: unknown[]; changes: number }> {
      if (dead) return Promise.reject(dead)
      const [first] = parameters
      const isMany = first instanceof ManyRows
      const ask: ThreadAsk = {
        id: next++,
        sql,
        parameters: isMany ? [] : parameters,
        many: isMany ? first.rows : null,
      }
      return new Promise((resolve, reject) => {
        pending.set(ask.id, { resolve, reject })
        worker.ref()
        worker.postMessage(ask)
      })
    },
    async close(): Promise<void> {
      if (dead) return
      const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()))
      worker.ref()
      worker.postMessage('close')
      await ended
    },
  }
}

function createDriver(path: string): Driver {
  let thread: ReturnType<typeof createThread> | null = null
  const waiting: (() => void)[] = []
  let isTaken = false

  const connection: DatabaseConnection = {
    async executeQuery<Row>({ sql, parameters }: CompiledQuery): Promise<QueryResult<Row>> {
      const { rows, changes } = await thread!.run(sql, parameters)
      return { rows: rows as Row[], numAffectedRows: BigInt(changes) }
    },
    streamQuery() {
      throw new Error('streaming queries are not supported for SQLite')
    },
  }

  const run = async (sql: string) => {
    await thread!.run(sql, [])
  }

  return {
    async init() {},
    async acquireConnection() {
      if (isTaken) await new Promise<void>((resolve) => waiting.push(resolve))
      isTaken = true
      // Replaces a thread that died, for example because the disk was full or the file was gone.
      if (thread === null || thread.isDead()) thread = createThread(path)
      return connection
    },
    async releaseConnection() {
      const next = waiting.shift()
      if (next) next()
      else isTaken = false
    },
    beginTransaction: () => run('begin immediate'),
    commitTransaction: () => run('commit'),
    rollbackTransaction: () => run('rollback'),
    async destroy() {
      await thread?.close()
    },
  }
}
