import type { Logger } from 'pino'
import type { Config } from '../config/schema.ts'
import { findUnpricedUnnamed, type UnpricedLane } from '../config/unpriced.ts'
import type { Emitter } from '../lib/emitter.ts'
import type { ProcessEvents } from './listeners.ts'

/** Lanes that are told of; clients may invent names. */
const MOST_TOLD = 1000

/** Names lanes without a price, as the start of a process and a changed configuration do. */
export function warnOfUnpriced(log: Logger, lanes: readonly UnpricedLane[]): void {
  if (lanes.length === 0) return
  log.warn(
    { lanes: lanes.map(({ lane }) => lane), budgets: lanes[0]!.budgets },
    'these lanes have no price: their costs are not known, and no budget counts them',
  )
}

/** Names each lane without a price that the configuration does not name, as models `"*"` have them, when its first call has ended. */
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
