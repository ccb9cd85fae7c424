import { readdir, readFile } from 'node:fs/promises'
import { setTimeout as wait } from 'node:timers/promises'
import { type Kysely, sql } from 'kysely'
import type { Database } from './database.ts'
import type { Tables } from './tables.ts'

/** PostgreSQL's advisory lock for migrations. */
const LOCK = 7_301_842_113

/** A process that waits for another one's migrations asks again after this time, ms. */
const ASK_AGAIN_MS = 100

/** A file that begins with this runs without a transaction: each statement commits by itself, and runs again if the file was interrupted. */
const ALONE = '-- Outside a transaction.'

/** `run`: the migrations just applied; `newest`: the newest in the database; `known`: the newest that this release knows. */
export type Migrated = { run: number[]; newest: number; known: number }

/**
 * Brings the tables up to date: applies numbered SQL files, each once, in order. SQLite applies all missing ones in one transaction.
 * PostgreSQL applies them one by one, so that the locks of one are free before the next begins. Any number of processes may start at
 * the same time: one migrates, the others wait. Migrations only add, and drop nothing but indexes, so processes of the previous release
 * keep working beside this one. A process that finds numbers that it does not know keeps working too.
 */
export async function migrate(database: Database): Promise<Migrated> {
  const { kind, db } = database
  const files = await readMigrations(kind)
  const known = files.at(-1)!.number
  const before = await readNewest(db)
  if (before >= known) return { run: [], newest: before, known }
  if (kind === 'sqlite') {
    return database.migrate((migrationDb) =>
      migrationDb.transaction().execute((trx) => runMissing(trx, files, (work) => work(trx))),
    )
  }
  return database.migrate((migrationDb) =>
    migrationDb
      .connection()
      .execute((session) =>
        withLock(session, () =>
          runMissing(session, files, (work, isAlone) =>
            isAlone ? work(session) : session.transaction().execute(work),
          ),
        ),
      ),
  )
}

/**
 * Runs `work` while this session has the lock. It polls for the lock instead of waiting in one statement: a concurrent index build
 * waits for the statements of all other sessions, and would wait for that one.
 */
async function withLock<T>(session: Kysely<Tables>, work: () => Promise<T>): Promise<T> {
  const take = sql<{ taken: boolean }>`select pg_try_advisory_lock(${sql.lit(LOCK)}) as taken`
  while (!(await take.execute(session)).rows[0]!.taken) await wait(ASK_AGAIN_MS)
  try {
    return await work()
  } finally {
    // A lost session has lost its lock anyway.
    await sql`select pg_advisory_unlock(${sql.lit(LOCK)})`.execute(session).catch(() => {})
  }
}

/** @param run calls `work` with the connection or transaction for the statements of one file */
async function runMissing(
  db: Kysely<Tables>,
  files: Migration[],
  run: (work: (db: Kysely<Tables>) => Promise<void>, isAlone: boolean) => Promise<void>,
): Promise<Migrated> {
  const known = files.at(-1)!.number
  await sql`create table if not exists history_migrations (
    number integer primary key, name text not null, applied_at text not null default (current_timestamp)
  )`.execute(db)
  const done = await db.selectFrom('history_migrations').select('number').execute()
  const numbers = new Set(done.map(({ number }) => number))
  const missing = files.filter(({ number }) => !numbers.has(number))
  for (const { number, name, text } of missing) {
    await run(async (at) => {
      for (const statement of splitStatements(text)) await sql.raw(statement).execute(at)
      await at.insertInto('history_migrations').values({ number, name }).execute()
    }, text.startsWith(ALONE))
  }
  return {
    run: missing.map(({ number }) => number),
    newest: Math.max(known, ...numbers),
    known,
  }
}

/** The number of the newest applied migration; 0: none. */
async function readNewest(db: Kysely<Tables>): Promise<number> {
  try {
    const [row] = await db
      .selectFrom('history_migrations')
      .select((eb) => eb.fn.max('number').as('newest'))
      .execute()
    return Number(row?.newest ?? 0)
  } catch (error) {
    // The table does not exist yet. If the database is away, the next query fails.
    if (/history_migrations/.test((error as Error).message)) return 0
    throw error
  }
}

type Migration = { number: number; name: string; text: string }

async function readMigrations(kind: Database['kind']): Promise<Migration[]> {
  const folder = new URL(`./migrations/${kind}/`, import.meta.url)
  const names = (await readdir(folder)).filter((name) => /^\d{4}-.*\.sql$/.test(name)).sort()
  return Promise.all(
    names.map(async (name) => ({
      number: Number(name.slice(0, 4)),
      name: name.slice(5, -'.sql'.length),
      text: await readFile(new URL(name, folder), 'utf8'),
    })),
  )
}

/** Splits a file into statements without comments. The files contain no string literal with a semicolon or two dashes. */
function splitStatements(text: string): string[] {
  return text
    .replaceAll(/--.*$/gm, '')
    .split(';')
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '')
}
