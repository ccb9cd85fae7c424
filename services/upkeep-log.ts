import type { Logger } from 'pino'
import type { OnUpkeepFailure } from '../lib/visit-all.ts'

/** The same failure of the same object is logged again after this, ms. */
const AGAIN_MS = 60 * 60_000

/** Limit of remembered failures; further ones are logged every time. */
const MOST = 1000

/**
 * Counts and logs failures of passes over tenants for single tenants or jobs: once, and again every hour while the fault lasts, because a
 * pass runs every second.
 *
 * @param deps.isKnown takes errors of Redis' state, which share one line
 */
export function createUpkeepLog(deps: {
  log: Logger
  count: (task: string) => void
  isKnown: (error: unknown) => boolean
  now: () => number
}): OnUpkeepFailure {
  const { log, now } = deps
  const said = new Map<string, number>()
  return ({ task, tenant, id, error }) => {
    deps.count(task)
    if (deps.isKnown(error)) return
    const key = JSON.stringify([task, tenant, id ?? null, error instanceof Error ? error.message : null])
    if (now() - (said.get(key) ?? Number.NEGATIVE_INFINITY) < AGAIN_MS) return
    said.delete(key)
    said.set(key, now())
    if (said.size > MOST) said.delete(said.keys().next().value!)
    const about = { tenant, ...(id === undefined ? {} : { id }) }
    log.error(
      { err: error, task, ...about },
      'upkeep failed for one tenant or job; it goes on with the others',
    )
  }
}
