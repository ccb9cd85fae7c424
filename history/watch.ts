import type { Database } from './database.ts'
import { codeOf } from './database.ts'
import { HistoryUnavailableError } from './errors.ts'
import { type Migrated, migrate } from './migrate.ts'
import type { HistoryStore } from './store.ts'
import type { DatabaseWatch } from './stored-jobs.ts'

/** After a failure, callers are told at once for this long, ms; then one of them tries. */
const REST_MS = 1000

export type DatabaseState = {
  isUp: boolean
  /** Since when it is away, as `performance.now` tells it; null: it is there, or was not asked yet. */
  downSince: number | null
}

/** Knows whether the database answers, and brings its tables up to date before anything is asked. */
export type WatchedDatabase = DatabaseWatch & {
  state(): DatabaseState
}

/**
 * @param deps.onDown once, when it stops to answer; then again while it does not, ever less often
 * @param deps.onUp once, when it answers again
 */
export function watchDatabase(deps: {
  database: Database
  onMigrated: (migrated: Migrated) => void
  onDown: (error: unknown) => void
  onUp: () => void
}): WatchedDatabase {
  const { database, onDown, onUp } = deps
  let migrating: Promise<void> | null = null
  let isMigrated = false
  let downSince: number | null = null
  let restsUntil = 0

  async function bringUpToDate(): Promise<void> {
    const migrated = await migrate(database)
    isMigrated = true
    deps.onMigrated(migrated)
  }

  return {
    async ready() {
      if (isMigrated) return
      migrating ??= bringUpToDate().finally(() => {
        migrating = null
      })
      await migrating
    },
    check() {
      if (performance.now() >= restsUntil) return
      throw new HistoryUnavailableError('the history of finished jobs is not available')
    },
    succeeded() {
      restsUntil = 0
      if (downSince === null) return
      downSince = null
      onUp()
    },
    failed(error) {
      // A statement that it refuses says nothing about the database.
      if (!isAway(error)) return
      restsUntil = performance.now() + REST_MS
      downSince ??= performance.now()
      onDown(error)
    },
    state: () => ({ isUp: downSince === null, downSince }),
  }
}

/** The same store: its tables are there first, and a database that is away is a `HistoryUnavailableError`. */
export function guardStore(store: HistoryStore, watch: WatchedDatabase): HistoryStore {
  async function guard<T>(work: () => Promise<T>): Promise<T> {
    try {
      await watch.ready()
      const answer = await work()
      watch.succeeded()
      return answer
    } catch (error) {
      if (!isAway(error)) throw error
      watch.failed(error)
      throw new HistoryUnavailableError('the history of finished jobs is not available', { cause: error })
    }
  }
  return {
    save: (...asked) => guard(() => store.save(...asked)),
    remove: (...asked) => guard(() => store.remove(...asked)),
    reopen: (...asked) => guard(() => store.reopen(...asked)),
    expire: (...asked) => guard(() => store.expire(...asked)),
  }
}

/** What PostgreSQL says when it is there and cannot work: connections, resources, the operator's doing, the system. */
const AWAY_CLASSES = ['08', '53', '57', '58', 'XX']
/** States that no further try of the same statement would change by itself. */
const AWAY_STATES = ['28P01', '28000', '3D000', '25006', '40001', '40P01', '55P03', '42501', '42P01']
/** SQLite: busy, locked, out of memory, read-only, I/O, corrupt, full, cannot open, not a database. */
const AWAY_NUMBERS = [5, 6, 7, 8, 10, 11, 13, 14, 26]

/** True where the database is not there or cannot work, so that the same will be taken when it can; false for a fault of what was asked. */
function isAway(error: unknown): boolean {
  const code = codeOf(error)
  if (code === null) return true
  if (/^\d+$/.test(code) && code.length <= 4) return AWAY_NUMBERS.includes(Number(code) & 0xff)
  return AWAY_CLASSES.includes(code.slice(0, 2)) || AWAY_STATES.includes(code)
}
