import { toStarted } from '../jobs/claim.ts'
import type { Held } from '../jobs/queue-entry.ts'
import type { Work } from '../jobs/work.ts'

/**
 * Gives back a job whose call was started for this worker, because the worker stops or does not know the lane. No call
 * was made.
 */
export async function giveBackStarted(
  one: Held,
  deps: {
    work: Pick<Work, 'requeue'>
    lane: string
    now: () => number
    giveBack: (one: Held) => Promise<void>
  },
): Promise<void> {
  const end = { outcome: 'aborted', latency_ms: 0, error_code: 'aborted' } as const
  const why = { countsAsAttempt: false, reason: 'shutdown', waitingFor: 'retry_delay' } as const
  const next = { at: deps.now(), ...why }
  if (await deps.work.requeue(toStarted(one, deps.lane), end, next)) await deps.giveBack(one)
}
