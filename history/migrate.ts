import { readdir, readFile } from 'node:fs/promises'
import { setTimeout as wait } from 'node:timers/promises'
import { type Kysely, sql } from 'kysely'
import type { Database } from './database.ts'
import type { Tables } from './tables.ts'

/** Of PostgreSQL's advisory locks, the one for migrations. */
const LOCK = 7_301_842_113

/** Who waits for another process's migrations asks again after this, ms. */
const ASK_AGAIN_MS = 100

/** A file that begins with this runs without a transaction: each statement for itself, and again where it was cut off. */
const ALONE = '-- Outside a transaction.'

/** What was done: the numbers of those that were run just now, and the newest that the database has. */
export type Migrated = { run: number[]; newest: number; known: number }

/**
 * Brings the tables up to what this release knows: numbered SQL files, each once, in their order. SQLite takes all of those that are
 * missing or none. PostgreSQL takes them one by one, so that a table that one of them locks is free again before the next begins. Any
 * number of processes may start at the same time: one migrates, the others wait. Migrations add, and drop nothing but indexes, so that a
 * process of the release before goes on working beside this one; one that finds numbers that it does not know goes on, too.
 */
export async function migrate(database: Database): Promise<Migrated> {
  const { kind, db } = database
  const files = await readMigrations(kind)
  const known = files.at(-1)!.number
  const before = await readNewest(db)
  if (before >= known) return { run: [], newest: before, known }
  if (kind === 'sqlite') {
    return database.migrate((patient) =>
      patient.transaction().execute((trx) => runMissing(trx, files, (work) => work(trx))),
    )
  }
  return database.migrate((patient) =>
    patient
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
 * While this session has the lock. Who waits asks again and again instead of inside one statement: an index that is built concurrently
 * waits for the statements of all others, and would wait for that one.
 */
async function withLock<T>(session: Kysely<Tables>, work: () => Promise<T>): Promise<T> {
  const take = sql<{ taken: boolean }>`select pg_try_advisory_lock(${sql.lit(LOCK)}) as taken`
  while (!(await take.execute(session)).rows[0]!.taken) await wait(ASK_AGAIN_MS)
  try {
    return await work()
  } finally {
    // A session that is gone has no lock any more.
    await sql`select pg_advisory_unlock(${sql.lit(LOCK)})`.execute(session).catch(() => {})
  }
}

/** @param run calls with where the statements of one file are to run */
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

/** The newest migration that was run; 0: none. */
async function readNewest(db: Kysely<Tables>): Promise<number> {
  try {
    const [row] = await db
      .selectFrom('history_migrations')
      .select((eb) => eb.fn.max('number').as('newest'))
      .execute()
    return Number(row?.newest ?? 0)
  } catch (error) {
    // There is no such table yet. Where the database is away, what follows says so.
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

/** The statements of a file, without comments. They hold no text with a semicolon or two dashes. */
function splitStatements(text: string): string[] {
  return text
    .replaceAll(/--.*$/gm, '')
    .split(';')
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '')
}
