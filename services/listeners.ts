import type { Logger } from 'pino'
import type { Claimed } from '../jobs/claim.ts'
import type { Incident } from '../jobs/incidents.ts'
import type { SubmissionEvent } from '../jobs/submission-outcome.ts'
import type { WorkEvents } from '../jobs/work.ts'
import type { Emitter } from '../lib/emitter.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { CallEvent } from '../telemetry/work-metrics.ts'
import type { WebhookEvents } from '../webhooks/deliverer.ts'
import type { LaneEvents } from '../workers/after-refusal.ts'
import type { CallEvents, EndedCall } from '../workers/ended-call.ts'

/** All events of the parts of a process. A part does not know its listeners. */
export type ProcessEvents = WorkEvents &
  CallEvents &
  LaneEvents &
  WebhookEvents & { 'job.submitted': SubmissionEvent; 'job.incident': Incident }

/** Counts events for `/metrics`. */
export function countEvents(events: Emitter<ProcessEvents>, { jobs, work, webhooks }: Metrics): void {
  events.on('job.submitted', jobs.onSubmitted)
  events.on('job.incident', jobs.onIncident)
  events.on('webhook.attempted', webhooks.onAttempt)
  events.on('call.ended', (call) => work.onCall(toCallEvent(call)))
  events.on('source.shut', work.onSourceShut)
  events.on('job.completed', ({ claimed, cache, usage, costUsd: cost, savedUsd = 0 }) => {
    const costUsd = cost ?? 0
    const source = cache === 'hit' || cache === 'shared' ? cache : 'call'
    work.onWork({ kind: 'ended', ...nameJob(claimed), status: 'completed', source, usage, costUsd, savedUsd })
  })
  events.on('job.failed', ({ claimed, end }) => {
    const { usage = null, cost_usd: costUsd = 0 } = end
    work.onWork({ kind: 'ended', ...nameJob(claimed), status: 'failed', source: 'call', usage, costUsd })
  })
  events.on('job.requeued', (requeued) => {
    const reason = retryReason(requeued)
    if (reason === null) return
    const costUsd = requeued.end.cost_usd ?? 0
    work.onWork({ kind: 'retried', ...nameJob(requeued.claimed), reason, costUsd })
  })
}

function nameJob({ tenant, lane, type }: Omit<Claimed, 'body'>) {
  return { tenant, lane, type }
}

/** Null for a job that no longer needs its entry, and for one that was put back without a call. */
function retryReason({ end, next, waits }: ProcessEvents['job.requeued']): string | null {
  if (next.lane !== undefined) return 'rerouted'
  if (!waits) return null
  if (next.reason === 'input_rejected') return next.reason
  const { outcome } = end
  // Its body could not be read, or the source refused us.
  if (outcome === 'failed') return end.source === undefined ? null : 'moved'
  return outcome === 'throttled' || outcome === 'retryable' || outcome === 'timeout' ? outcome : 'stopped'
}

/** The parts of a call that metrics show, without its request and answer. */
function toCallEvent({ lane, outcome, latencyMs, firstChunkMs, claimed, answer }: EndedCall): CallEvent {
  return {
    lane,
    type: claimed[0]!.type,
    outcome,
    status: answer.status,
    waitedMs: claimed.map((one) => one.waitedMs),
    inputs: claimed.reduce((sum, one) => sum + one.cost.inputs, 0),
    latencyMs,
    firstChunkMs,
  }
}

/** Logs calls, failed jobs and incidents; docs/logging.md lists the lines. */
export function logEvents(events: Emitter<ProcessEvents>, log: Logger): void {
  events.on('call.ended', (call) => logCall(log, call))
  events.on('job.failed', ({ claimed, error }) => {
    const { code, provider_status: status, retryable } = error
    log.warn({ ...aboutJob(claimed), attempt: claimed.call, code, status, retryable }, 'job failed')
  })
  events.on('source.shut', ({ lane, source, reason, message, until }) => {
    const line = { lane, source, reason, message, until: new Date(until).toISOString() }
    log.error(line, 'source shut: the provider refuses its key, its account or its money')
  })
  events.on('job.incident', ({ kind, tenant, job, lane, requestId, detail }) => {
    const line = { job, tenant, lane, request_id: requestId, ...detail }
    if (kind === 'failed') log.warn(line, 'job failed')
    else log.info(line, 'worker lost in the middle of a call')
  })
}

/**
 * Logs a line for each job of a call, at `debug`. If it is unknown whether the provider did the work, the line is at `info`, because the
 * job may be paid for twice.
 */
function logCall(log: Logger, { answer, claimed, outcome, latencyMs, source }: EndedCall): void {
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
      ...(source === null ? {} : { source }),
      ...(answer.ok ? {} : { code: answer.code }),
    }
    if (isAmbiguous) log.info(line, 'provider call with an unknown outcome')
    else log.debug(line, 'provider call')
  }
}

/** The common members of all lines about a job. */
function aboutJob({ id, tenant, lane, requestId }: Omit<Claimed, 'body'>) {
  return { job: id, tenant, lane, request_id: requestId }
}
