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

/** The database that holds what was finished. It connects when it is asked first, and again when its connection is lost. */
export type Database = {
  kind: DatabaseKind
  /** For people: without the password. */
  name: string
  /** For writes. */
  db: Kysely<Tables>
  /** For reads that need not wait for the writes of this process. */
  reads: Kysely<Tables>
  /** The writes of one tenant's rows, one after the other over all processes: all of them, or none. */
  change<T>(root: string, work: (trx: Transaction<Tables>) => Promise<T>): Promise<T>
  /** Many rows at once. `conflict`: what stands behind the values. Resolves to how many were written. */
  insertMany(trx: Transaction<Tables>, many: ManyInserts): Promise<number>
  /** Asks for next to nothing. PostgreSQL has a connection of its own for it, on which it may take 2.5 s. Throws where it does not answer. */
  ping(): Promise<void>
  /** What was deleted is not to be found in files that stay: SQLite's log keeps it until it is written anew. Never throws. */
  scrub(): Promise<void>
  /** Runs migrations, which may take minutes on many rows: no statement of theirs is late. */
  migrate<T>(work: (db: Kysely<Tables>) => Promise<T>): Promise<T>
  close(): Promise<void>
}

export type ManyInserts = {
  table: keyof Tables
  /** With their types in PostgreSQL. */
  columns: readonly (readonly [name: string, type: 'text' | 'bigint' | 'bytea'])[]
  rows: readonly (readonly unknown[])[]
  conflict: string
}

/** Connections of a process to PostgreSQL, and one more that asks whether it is there. */
const MOST_CONNECTIONS = 5
/** How long a caller waits for a connection, and for an answer, ms. */
const CONNECT_MS = 2500
const ANSWER_MS = 10_000

/** PostgreSQL's whole numbers of 64 bits, which here stay within what JavaScript counts exactly. */
const INT8 = 20
/** Sums of these. */
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
    // One writer at a time is all that SQLite has.
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
      // While somebody reads an older state the log stays; the next deletion tries again.
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
  // A connection that breaks while nobody uses it.
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
    // Its vacuum frees what was deleted; what its log keeps is gone at the next checkpoints.
    async scrub() {},
    async migrate(work) {
      const { query_timeout: _, statement_timeout: __, ...patient } = settings
      const own = new pg.Pool({ ...patient, max: 1 })
      own.on('error', onError)
      const patientDb = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: own }) })
      try {
        return await work(patientDb)
      } finally {
        await patientDb.destroy()
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

/** SQLSTATE, or SQLite's number; null where the database was not reached. */
export function codeOf(error: unknown): string | null {
  if (error instanceof DatabaseError) return error.code
  return error instanceof pg.DatabaseError ? (error.code ?? null) : null
}
