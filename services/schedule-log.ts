import type { Logger } from 'pino'
import type { SlotEvent } from '../schedules/runner.ts'
import { RunOutcome } from '../schedules/schedule.ts'

/** Logs each slot: at `debug` if it ran as planned, otherwise at `warn`. docs/logging.md lists the lines. */
export function logSlot(log: Logger, event: SlotEvent): void {
  const { tenant, schedule, name, slot, outcome, made, error, lateMs } = event
  const line = {
    tenant,
    schedule,
    ...(name === null ? {} : { name }),
    scheduled_for: new Date(slot).toISOString(),
    outcome,
    late_ms: lateMs,
    ...(made === null ? {} : { [event.target]: made }),
    ...(error === null ? {} : { code: error.code }),
  }
  if (outcome === RunOutcome.created || outcome === RunOutcome.skipped) log.debug(line, 'slot of a schedule')
  else log.warn(line, 'slot of a schedule without a job')
}
