import { readdir, readFile } from 'node:fs/promises'
import { type Kysely, sql, type Transaction } from 'kysely'
import type { Database } from './database.ts'
import type { Tables } from './tables.ts'

/** Of PostgreSQL's advisory locks, the one for migrations. */
const LOCK = 7_301_842_113

/** What was done: the numbers of those that were run just now, and the newest that the database has. */
export type Migrated = { run: number[]; newest: number; known: number }

/**
 * Brings the tables up to what this release knows: numbered SQL files, each once, in their order, all or none of those that are
 * missing. Any number of processes may start at the same time: one migrates, the others wait. Migrations only add, so that a
 * process of the release before goes on working beside this one; one that finds numbers that it does not know goes on, too.
 */
export async function migrate(database: Database): Promise<Migrated> {
  const { kind, db } = database
  const files = await readMigrations(kind)
  const known = files.at(-1)!.number
  const before = await readNewest(db)
  if (before >= known) return { run: [], newest: before, known }
  return database.migrate((patient) => patient.transaction().execute((trx) => runMissing(trx, kind, files)))
}

async function runMissing(
  trx: Transaction<Tables>,
  kind: Database['kind'],
  files: Migration[],
): Promise<Migrated> {
  const known = files.at(-1)!.number
  if (kind === 'postgres') await sql`select pg_advisory_xact_lock(${sql.lit(LOCK)})`.execute(trx)
  await sql`create table if not exists history_migrations (
    number integer primary key, name text not null, applied_at text not null default (current_timestamp)
  )`.execute(trx)
  const done = await trx.selectFrom('history_migrations').select('number').execute()
  const numbers = new Set(done.map(({ number }) => number))
  const missing = files.filter(({ number }) => !numbers.has(number))
  for (const { number, name, text } of missing) {
    for (const statement of splitStatements(text)) await sql.raw(statement).execute(trx)
    await trx.insertInto('history_migrations').values({ number, name }).execute()
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
