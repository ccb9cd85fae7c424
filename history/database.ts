import { resolve } from 'node:path'
import {
  CompiledQuery as Compiled,
  type CompiledQuery,
  Kysely,
  PostgresDialect,
  sql,
  type Transaction,
} from 'kysely'
import pg from 'pg'
import { DatabaseError } from './errors.ts'
import { createSqliteDialect, ManyRows } from './sqlite-dialect.ts'
import type { Tables } from './tables.ts'

export type DatabaseKind = 'sqlite' | 'postgres'

/** The database of finished jobs. It connects at the first query, and reconnects when its connection is lost. */
export type Database = {
  kind: DatabaseKind
  /** The URL for logs and messages, without its password. */
  name: string
  /** For writes. */
  db: Kysely<Tables>
  /** For reads; they need not wait for this process's writes. */
  reads: Kysely<Tables>
  /** Runs `work` in a transaction. Transactions on one tenant's rows run one after the other over all processes. */
  change<T>(root: string, work: (trx: Transaction<Tables>) => Promise<T>): Promise<T>
  /** Inserts many rows at once. `conflict`: SQL that follows the values. Resolves to how many rows were written. */
  insertMany(trx: Transaction<Tables>, many: ManyInserts): Promise<number>
  /** Runs a trivial query. PostgreSQL has a connection of its own for it, with a timeout of 2.5 s. Throws if the database does not answer. */
  ping(): Promise<void>
  /** Removes deleted content from files: SQLite's log keeps it until the log is truncated. Never throws. */
  scrub(): Promise<void>
  /** Runs migrations without a statement timeout, because they may take minutes on many rows. */
  migrate<T>(work: (db: Kysely<Tables>) => Promise<T>): Promise<T>
  close(): Promise<void>
}

/** Rows to insert into one table. Each row has its values in the order of `columns`. */
export type ManyInserts = {
  table: keyof Tables
  /** Columns with their PostgreSQL types. */
  columns: readonly (readonly [name: string, type: 'text' | 'bigint' | 'bytea'])[]
  rows: readonly (readonly unknown[])[]
  conflict: string
}

/** A process's connections to PostgreSQL; `ping` has one more. */
const MOST_CONNECTIONS = 5
/** Timeouts for a connection and for an answer, ms. */
const CONNECT_MS = 2500
const ANSWER_MS = 10_000

/** PostgreSQL's type ids of 64-bit integers, whose values stay below 2^53 here, and of their sums. */
const INT8 = 20
const NUMERIC = 1700

/** @param url `sqlite:PATH`, or `postgres://…` */
export function openDatabase(url: string, onError: (error: unknown) => void = () => {}): Database {
  return url.startsWith('sqlite:') ? openSqlite(url.slice('sqlite:'.length)) : openPostgres(url, onError)
}

/** The URL without its password. */
export function nameDatabase(url: string): string {
  if (url.startsWith('sqlite:')) return url
  try {
    const { protocol, host, pathname } = new URL(url)
    return `${protocol}//${host}${pathname}`
  } catch {
    return 'postgres'
  }
}

function openSqlite(path: string): Database {
  const file = resolve(path)
  const open = () => new Kysely<Tables>({ dialect: createSqliteDialect(file) })
  const db = open()
  const reads = open()
  return {
    kind: 'sqlite',
    name: `sqlite:${path}`,
    db,
    reads,
    // SQLite allows only one writer at a time.
    change: (_root, work) => db.transaction().execute(work),
    async insertMany(trx, { table, columns, rows, conflict }) {
      if (rows.length === 0) return 0
      const names = columns.map(([name]) => name)
      const text = `insert into ${table} (${names.join(', ')}) values (${names.map(() => '?').join(', ')}) ${conflict}`
      const { numAffectedRows } = await trx.executeQuery(
        Compiled.raw(text, [new ManyRows(rows)]) as CompiledQuery,
      )
      return Number(numAffectedRows)
    },
    migrate: (work) => work(db),
    async scrub() {
      // The log stays while somebody reads an older state. The next deletion tries again.
      await sql`pragma wal_checkpoint(truncate)`.execute(db).catch(() => {})
    },
    async ping() {
      await sql`select max(number) from history_migrations`.execute(reads)
    },
    async close() {
      await Promise.all([db.destroy(), reads.destroy()])
    },
  }
}

function openPostgres(url: string, onError: (error: unknown) => void): Database {
  const types = {
    getTypeParser(oid: number, format?: 'text' | 'binary') {
      if (oid === INT8 || oid === NUMERIC) return (text: string) => Number(text)
      return pg.types.getTypeParser(oid, format as 'text')
    },
  }
  const settings: pg.PoolConfig = {
    connectionString: url,
    connectionTimeoutMillis: CONNECT_MS,
    query_timeout: ANSWER_MS,
    statement_timeout: ANSWER_MS,
    idle_in_transaction_session_timeout: ANSWER_MS,
    keepAlive: true,
    application_name: 'sluice',
    allowExitOnIdle: true,
    types: types as pg.CustomTypesConfig,
  }
  const pool = new pg.Pool({ ...settings, max: MOST_CONNECTIONS })
  const pings = new pg.Pool({ ...settings, max: 1, query_timeout: CONNECT_MS })
  // An idle connection may break.
  for (const one of [pool, pings]) one.on('error', onError)
  const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) })
  return {
    kind: 'postgres',
    name: nameDatabase(url),
    db,
    reads: db,
    change: (root, work) =>
      db.transaction().execute(async (trx) => {
        await sql`select pg_advisory_xact_lock(hashtextextended(${root}, 1))`.execute(trx)
        return work(trx)
      }),
    async insertMany(trx, { table, columns, rows, conflict }) {
      if (rows.length === 0) return 0
      const names = columns.map(([name]) => name).join(', ')
      const arrays = columns.map(([, type], at) => `$${at + 1}::${type}[]`).join(', ')
      const values = columns.map((_column, at) => rows.map((row) => row[at]))
      const text = `insert into ${table} (${names}) select * from unnest(${arrays}) ${conflict}`
      const { numAffectedRows } = await trx.executeQuery(Compiled.raw(text, values) as CompiledQuery)
      return Number(numAffectedRows)
    },
    // PostgreSQL's vacuum frees deleted rows, and its log drops them at the next checkpoints.
    async scrub() {},
    async migrate(work) {
      const { query_timeout: _, statement_timeout: __, ...withoutTimeouts } = settings
      const own = new pg.Pool({ ...withoutTimeouts, max: 1 })
      own.on('error', onError)
      const dbWithoutTimeouts = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: own }) })
      try {
        return await work(dbWithoutTimeouts)
      } finally {
        await dbWithoutTimeouts.destroy()
      }
    },
    async ping() {
      await pings.query('select 1')
    },
    async close() {
      await Promise.all([db.destroy(), pings.end()])
    },
  }
}

/** The SQLSTATE, or SQLite's error number; null if the database was not reached. */
export function codeOf(error: unknown): string | null {
  if (error instanceof DatabaseError) return error.code
  return error instanceof pg.DatabaseError ? (error.code ?? null) : null
}
