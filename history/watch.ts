import type { Database } from './database.ts'
import { codeOf } from './database.ts'
import { HistoryUnavailableError, NOT_AVAILABLE } from './errors.ts'
import { type Migrated, migrate } from './migrate.ts'
import type { HistoryStore } from './store.ts'
import type { DatabaseWatch } from './stored-jobs.ts'

/** The database is asked again after this while it is away, and while nobody else asked it; ms. */
const LOOK_MS = { away: 1000, idle: 5000 }

/** Writes that failed say nothing any more after this, where this process had none since; ms. */
const WRITES_FORGOTTEN_MS = 30_000

export type DatabaseState = {
  isUp: boolean
  /** Since when it does not answer, or takes nothing, as `performance.now` tells it, and what it said; null: it does, or was not asked yet. */
  reads: Down | null
  writes: Down | null
}

type Down = { since: number; error: unknown }

/**
 * Knows whether the database answers, and brings its tables up to date before anything is asked. Reads and writes are told apart:
 * a full one answers what it has. While it does not answer reads, callers are told at once, and only `look` asks it.
 */
export type WatchedDatabase = DatabaseWatch & {
  state(): DatabaseState
  /** It took a write. */
  written(): void
  /** It did not take one. */
  refused(error: unknown): void
  /** Asks it, where it is away, or nobody did for some seconds. To be called about every second; never throws. */
  look(): Promise<void>
}

/**
 * @param deps.onDown when it stops to answer, and again with each question while it does not
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
    // A statement that it refuses says nothing about the database.
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
        // Migrations may take their time. The question itself may not, where it has a connection of its own.
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

/** Looks as often as `look` wants it. Answers how to end it. */
export function keepLooking({ look }: Pick<WatchedDatabase, 'look'>): () => void {
  look()
  const timer = setInterval(look, LOOK_MS.away)
  timer.unref()
  return () => clearInterval(timer)
}

/** The same store: its tables are there first, and a database that is away is a `HistoryUnavailableError`. */
export function guardStore(store: HistoryStore, watch: WatchedDatabase): HistoryStore {
  /** @param takesMore whether success says that it takes rows: a full disk lets one find, change and delete. A removal adds a row that names the deleted job. */
  async function guard<T>(work: () => Promise<T>, takesMore: boolean): Promise<T> {
    try {
      await watch.ready()
      const answer = await work()
      if (takesMore) watch.written()
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
