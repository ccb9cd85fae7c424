import type { Logger } from 'pino'
import type { Config } from '../config/schema.ts'
import { findUnpricedUnnamed, type UnpricedLane } from '../config/unpriced.ts'
import type { Emitter } from '../lib/emitter.ts'
import type { ProcessEvents } from './listeners.ts'

/** Limit of logged lanes, because clients may invent names. */
const MOST_TOLD = 1000

/** Logs lanes without a price, at the start of a process and after a change of the configuration. */
export function warnOfUnpriced(log: Logger, lanes: readonly UnpricedLane[]): void {
  if (lanes.length === 0) return
  log.warn(
    { lanes: lanes.map(({ lane }) => lane), budgets: lanes[0]!.budgets },
    'these lanes have no price: their costs are not known, and no budget counts them',
  )
}

/** Logs each lane without a price that is not configured by name (models `"*"`), after its first call. */
export function logUnpricedCalls(
  events: Emitter<ProcessEvents>,
  { config, log }: { config: () => Config; log: Logger },
): void {
  const told = new Set<string>()
  events.on('job.completed', ({ claimed: { lane }, costUsd }) => {
    if (costUsd !== null || told.has(lane) || told.size >= MOST_TOLD) return
    told.add(lane)
    warnOfUnpriced(log, findUnpricedUnnamed(config(), [lane]))
  })
}
