import type { Logger } from 'pino'
import type { Incident } from '../jobs/incidents.ts'
import type { Claimed, Work } from '../jobs/work.ts'
import type { EndedCall } from '../workers/execute.ts'

/** What every line about a job begins with; docs/logging.md lists the lines. */
function aboutJob({ id, tenant, lane, requestId }: Claimed) {
  return { job: id, tenant, lane, request_id: requestId }
}

/**
 * A line for each job of a call, at `debug`. Where nobody knows whether the provider did the work it is one of `info`, for
 * the job may be paid twice.
 */
export function logCall(log: Logger, call: EndedCall): void {
  const { answer, claimed, outcome, latencyMs } = call
  const isAmbiguous = !answer.ok && answer.ambiguous
  if (!isAmbiguous && !log.isLevelEnabled('debug')) return
  for (const job of claimed) {
    const line = {
      ...aboutJob(job),
      attempt: job.call,
      outcome,
      status: answer.status,
      latency_ms: latencyMs,
      coalesced: claimed.length,
      ...(answer.ok ? {} : { code: answer.code }),
    }
    if (isAmbiguous) log.info(line, 'provider call with an unknown outcome')
    else log.debug(line, 'provider call')
  }
}

/** The same work, with a line for each job that fails. */
export function logFailures(work: Work, log: Logger): Work {
  return {
    ...work,
    async fail(claimed, end, error, own) {
      await work.fail(claimed, end, error, own)
      const { code, provider_status: status, retryable } = error
      log.warn({ ...aboutJob(claimed), attempt: claimed.call, code, status, retryable }, 'job failed')
    },
  }
}

export function logIncident(log: Logger, { kind, tenant, job, lane, requestId, detail }: Incident): void {
  const line = { job, tenant, lane, request_id: requestId, ...detail }
  if (kind === 'failed') log.warn(line, 'job failed')
  else log.info(line, 'worker lost in the middle of a call')
}

/** Tells of an event in such a way that a fault in the telling does no harm to what is told of: an answer was paid for. */
export function orReport<Event>(
  tell: (event: Event) => void,
  onError: (error: unknown, what: string) => void,
): (event: Event) => void {
  return (event) => {
    try {
      tell(event)
    } catch (error) {
      onError(error, 'telling of a call or its job')
    }
  }
}
