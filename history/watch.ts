import type { Database } from './database.ts'
import { codeOf } from './database.ts'
import { HistoryUnavailableError, NOT_AVAILABLE } from './errors.ts'
import { type Migrated, migrate } from './migrate.ts'
import type { HistoryStore } from './store.ts'
import type { DatabaseWatch } from './stored-jobs.ts'

/** Time between two checks of the database while it is away, and while no query reaches it, ms. */
const LOOK_MS = { away: 1000, idle: 5000 }

/** A failed write counts for this long if this process has had no further failed write, ms. */
const WRITES_FORGOTTEN_MS = 30_000

/** The state of the database as this process sees it. */
export type DatabaseState = {
  isUp: boolean
  /** When reads or writes began to fail, by `performance.now`, and the latest error; null: they work, or were not tried yet. */
  reads: Down | null
  writes: Down | null
}

type Down = { since: number; error: unknown }

/**
 * Knows whether the database works, and brings its tables up to date before the first query. Reads and writes are watched separately:
 * a full database still answers reads. While reads fail, callers get an error at once, and only `look` queries the database.
 */
export type WatchedDatabase = DatabaseWatch & {
  state(): DatabaseState
  /** Reports a write that succeeded. */
  written(): void
  /** Reports a write that failed. */
  refused(error: unknown): void
  /** Checks the database if it is away or had no query for some seconds. Call it about once a second. Never throws. */
  look(): Promise<void>
}

/**
 * @param deps.onDown called at each failure while the database is away
 * @param deps.onUp called once, when both reads and writes work again
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
  const down: { reads: Down | null; writes: Down | null } = { reads: null, writes: null }
  let answeredAt = Number.NEGATIVE_INFINITY
  let refusedAt = Number.NEGATIVE_INFINITY
  let isLooking = false

  async function bringUpToDate(): Promise<void> {
    const migrated = await migrate(database)
    isMigrated = true
    deps.onMigrated(migrated)
  }

  async function ready(): Promise<void> {
    if (isMigrated) return
    migrating ??= bringUpToDate().finally(() => {
      migrating = null
    })
    await migrating
  }

  function rise(side: 'reads' | 'writes'): void {
    if (down[side] === null) return
    down[side] = null
    if (down.reads === null && down.writes === null) onUp()
  }

  function fall(side: 'reads' | 'writes', error: unknown): void {
    // An error of the statement itself says nothing about the database.
    if (!isAway(error)) return
    down[side] = { since: down[side]?.since ?? performance.now(), error }
    onDown(error)
  }

  function succeeded(): void {
    answeredAt = performance.now()
    rise('reads')
  }

  function failed(error: unknown): void {
    fall('reads', error)
  }

  return {
    ready,
    check() {
      if (down.reads !== null) throw new HistoryUnavailableError(NOT_AVAILABLE)
    },
    succeeded,
    failed,
    late() {
      answeredAt = Number.NEGATIVE_INFINITY
    },
    written() {
      rise('writes')
    },
    refused(error) {
      refusedAt = performance.now()
      fall('writes', error)
    },
    state() {
      return { isUp: down.reads === null && down.writes === null, ...down }
    },
    async look() {
      const time = performance.now()
      if (time - refusedAt > WRITES_FORGOTTEN_MS) rise('writes')
      if (isLooking || (down.reads === null && time - answeredAt < LOOK_MS.idle)) return
      isLooking = true
      try {
        // Migrations have no time limit. The check itself has one on PostgreSQL, which gives it a connection of its own.
        await ready()
        await database.ping()
        succeeded()
      } catch (error) {
        failed(error)
      } finally {
        isLooking = false
      }
    },
  }
}

/** Calls `look` once a second. Returns a function that stops it. */
export function keepLooking({ look }: Pick<WatchedDatabase, 'look'>): () => void {
  look()
  const timer = setInterval(look, LOOK_MS.away)
  timer.unref()
  return () => clearInterval(timer)
}

/** Wraps a store: it waits until the tables are up to date, and turns a database that is away into a `HistoryUnavailableError`. */
export function guardStore(store: HistoryStore, watch: WatchedDatabase): HistoryStore {
  /**
   * @param addsRows whether success proves that the database accepts new rows. A full disk still lets you find, change and delete
   *   rows. A removal adds a row that remembers the deletion.
   */
  async function guard<T>(work: () => Promise<T>, addsRows: boolean): Promise<T> {
    try {
      await watch.ready()
      const answer = await work()
      if (addsRows) watch.written()
      return answer
    } catch (error) {
      if (!isAway(error)) throw error
      watch.refused(error)
      throw new HistoryUnavailableError(NOT_AVAILABLE, { cause: error })
    }
  }
  return {
    save: (...asked) => guard(() => store.save(...asked), true),
    remove: (...asked) => guard(() => store.remove(...asked), true),
    updateDelivery: (...asked) => guard(() => store.updateDelivery(...asked), false),
    reopen: (...asked) => guard(() => store.reopen(...asked), false),
    expire: (...asked) => guard(() => store.expire(...asked), false),
  }
}

/** PostgreSQL's error classes for a server that cannot work: connections, resources, operator intervention, system errors. */
const AWAY_CLASSES = ['08', '53', '57', '58', 'XX']
/** Further states that mean the server or its setup, and not the statement: authentication, permissions, locks, missing tables. */
const AWAY_STATES = ['28P01', '28000', '3D000', '25006', '40001', '40P01', '55P03', '42501', '42P01']
/** SQLite: busy, locked, out of memory, read-only, I/O, corrupt, full, cannot open, not a database. */
const AWAY_NUMBERS = [5, 6, 7, 8, 10, 11, 13, 14, 26]

/** True if the database is away or cannot work, so that the same query succeeds later; false for an error of the query itself. */
function isAway(error: unknown): boolean {
  const code = codeOf(error)
  if (code === null) return true
  if (/^\d+$/.test(code) && code.length <= 4) return AWAY_NUMBERS.includes(Number(code) & 0xff)
  return AWAY_CLASSES.includes(code.slice(0, 2)) || AWAY_STATES.includes(code)
}
