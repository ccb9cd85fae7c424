import type { Claimed } from '../jobs/claim.ts'
import type { BulkOutcome, CreateOutcome, Jobs } from '../jobs/jobs.ts'
import type { NewJob } from '../jobs/new-job.ts'
import type { WorkEvents } from '../jobs/work.ts'
import type { Emitter } from '../lib/emitter.ts'
import type { Span, SpanAttributes, Tracing } from './tracing.ts'

/** Attributes of all spans of the queue. */
function messaging(operation: 'send' | 'process', lane: string | undefined): SpanAttributes {
  return {
    'messaging.system': 'sluice',
    'messaging.operation.name': operation,
    'messaging.operation.type': operation,
    'messaging.destination.name': lane,
  }
}

/** Wraps the jobs so that each submission gets a span. The record of a job keeps the context of that span. */
export function traceJobs<Traced extends Pick<Jobs, 'create' | 'createMany'>>(
  jobs: Traced,
  tracing: Tracing,
): Traced {
  /** Jobs that arrive together are sent together, even for different lanes. */
  async function send<Outcome>(
    sent: NewJob[],
    attributes: SpanAttributes,
    submit: (jobs: NewJob[]) => Promise<Outcome>,
    describe: (outcome: Outcome) => SpanAttributes,
  ): Promise<Outcome> {
    const [first] = sent
    const lane = sent.every((job) => job.lane === first?.lane) ? first?.lane : undefined
    const span = tracing.start({
      name: lane === undefined ? 'send' : `send ${lane}`,
      kind: 'producer',
      parent: first?.trace,
      attributes: {
        ...messaging('send', lane),
        'sluice.tenant': first?.tenant,
        'sluice.request_id': first?.requestId,
        ...attributes,
      },
    })
    try {
      const outcome = await submit(sent.map((job) => ({ ...job, trace: span.traceparent })))
      span.set(describe(outcome))
      return outcome
    } catch (error) {
      span.fail(error instanceof Error ? error.name : 'error')
      throw error
    } finally {
      span.end()
    }
  }

  return {
    ...jobs,
    create: (job) => send([job], { 'sluice.type': job.type }, ([one]) => jobs.create(one!), describeOutcome),
    createMany: async (many) =>
      many.length === 0
        ? jobs.createMany(many)
        : send(many, { 'messaging.batch.message_count': many.length }, jobs.createMany, describeOutcomes),
  }
}

function describeOutcome(outcome: CreateOutcome): SpanAttributes {
  switch (outcome.kind) {
    case 'created':
    case 'replayed':
      return {
        'messaging.message.id': outcome.job.id,
        'sluice.cache': outcome.job.cache,
        'sluice.outcome': outcome.kind,
      }
    case 'conflict':
      return { 'sluice.outcome': 'conflict' }
    case 'refused':
      return { 'sluice.outcome': outcome.code }
  }
}

function describeOutcomes(outcomes: BulkOutcome[]): SpanAttributes {
  return { 'sluice.created': outcomes.filter(({ kind }) => kind === 'created').length }
}

/** The open spans of the jobs that this process is working on, by claim. */
export type OpenSpans = WeakMap<Omit<Claimed, 'body'>, Span>

/** Records each claim of a job as a span, until its outcome or its return to the queue is stored. */
export function traceWork(events: Emitter<WorkEvents>, tracing: Tracing, open: OpenSpans): void {
  function end(claimed: Omit<Claimed, 'body'>, attributes: SpanAttributes, error?: string): void {
    const span = open.get(claimed) ?? spanOfLine(claimed)
    if (span === undefined) return
    open.delete(claimed) // an outcome that is stored twice ends the span once
    span.set(attributes)
    if (error !== undefined) span.fail(error)
    span.end()
  }

  function start(claimed: Omit<Claimed, 'body'>, waitedFor: string | null, startedAt?: number): Span {
    const { lane } = claimed
    return tracing.start({
      name: `process ${lane}`,
      kind: 'consumer',
      parent: claimed.trace,
      ...(startedAt === undefined ? {} : { startedAt }),
      attributes: {
        ...messaging('process', lane),
        'messaging.message.id': claimed.id,
        'sluice.tenant': claimed.tenant,
        'sluice.request_id': claimed.requestId ?? undefined,
        'sluice.attempt': claimed.call,
        'sluice.waited_for': waitedFor ?? undefined,
        'sluice.provider_batch': claimed.providerBatch?.id,
      },
    })
  }

  /** The span of a line of a provider batch is created at its end, because the batch may outlive processes. */
  function spanOfLine(claimed: Omit<Claimed, 'body'>): Span | undefined {
    return claimed.providerBatch && start(claimed, 'provider_batch', claimed.providerBatch.since)
  }

  events.on('job.claimed', ({ claimed, waitedFor }) => {
    if (waitedFor !== 'provider_batch') open.set(claimed, start(claimed, waitedFor))
  })
  events.on('job.completed', ({ claimed, cache, costUsd }) =>
    end(claimed, {
      'sluice.outcome': 'completed',
      'sluice.cache': cache,
      'sluice.cost_usd': costUsd ?? undefined,
    }),
  )
  events.on('job.failed', ({ claimed, error }) => end(claimed, { 'sluice.outcome': 'failed' }, error.code))
  events.on('job.requeued', ({ claimed, end: ending, next, waits }) => {
    const outcome = next.lane !== undefined ? 'rerouted' : waits ? 'retry' : 'dropped'
    const attributes = { 'sluice.outcome': outcome, 'sluice.reason': next.reason, 'sluice.lane': next.lane }
    // The call's own span reports the end of the call. A job that is put back without an attempt has not failed.
    end(claimed, attributes, next.countsAsAttempt ? (ending.error_code ?? ending.outcome) : undefined)
  })
}
