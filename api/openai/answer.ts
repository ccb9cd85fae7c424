import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Job } from '../../jobs/job.ts'
import type { RouteContext, ServerParts } from '../deps.ts'
import { abortOnDisconnect } from '../disconnect.ts'
import { toApiError } from '../error-replies.ts'
import { toErrorMembers } from '../errors.ts'
import { prefersAsync } from '../prefer.ts'
import { COMMENT, fillSilences } from '../sse.ts'
import { answerFailure, answerWhole, cacheOf, type Handover, stopped } from './answer-whole.ts'
import { type Asked, openCall } from './call.ts'
import type { Failure } from './failure.ts'
import { encodeStream, failureOf } from './stream.ts'
import { type CallProgress, watchCall } from './watch.ts'

/**
 * Answers a provider's request with a job: with its result, as a stream if requested, or with the job itself for `Prefer: respond-async`.
 * Holds the connection as long as the job takes; the lane's timeouts decide.
 *
 * Headers are sent with the first piece of the answer, so that an earlier failure is a plain HTTP error. If the first piece of a stream
 * takes longer than `server.early_headers`, the headers are sent without it, because clients and proxies give up on a silent server (Node's
 * fetch after 300 s); a failure is then an event of the stream. The job is cancelled when its client disconnects, but not when this server
 * closes: a client that asks again then finds the call under way.
 */
export async function answerCall(
  request: FastifyRequest,
  reply: FastifyReply,
  asked: Asked,
  handover: Handover,
  { deps, limits, streams, closing }: RouteContext,
): Promise<FastifyReply> {
  const isAsync = prefersAsync(request.headers.prefer)
  const isStream = handover.stream !== null && !isAsync
  const gone = isStream ? abortOnDisconnect(reply) : null
  const revoked = isStream ? streams.open(request, reply) : null
  const isShownLive = isStream || (handover.sendLive !== undefined && !isAsync)
  const call = await openCall(request, asked, isShownLive, deps)
  reply.header('x-job-id', call.job.id).header('x-cache', call.job.cache)
  if (call.job.dropped_members.length > 0) {
    reply.header('x-dropped-members', call.job.dropped_members.join(', '))
  }
  if (call.isReplayed) reply.header('idempotent-replayed', 'true')
  if (isAsync) return answerAsync(reply, call.job)

  const cancel = () => {
    deps.store.jobs
      .cancel(call.tenant, call.job.id)
      .catch((error) => request.log.warn({ err: error }, 'cancelling a job'))
  }
  if (handover.sendLive !== undefined) {
    return handover.sendLive(reply, call, { jobs: deps.store.jobs, closing, cancel })
  }
  if (handover.stream === null || gone === null || revoked === null)
    return answerWhole(reply, call, handover, cancel, { deps, closing })
  const form = handover.stream(call)
  const finish = call.isOwn ? onGone(gone, closing, cancel) : () => {}
  const progress = (handover.watch ?? watchCall)(
    deps.store.jobs,
    call,
    AbortSignal.any([gone, closing, revoked]),
  )
  const next = progress.next()
  try {
    const opensEarly = !(await settlesWithin(next, deps.config().server.early_headers))
    if (!opensEarly) {
      const { value: first } = await next
      if (first === undefined) {
        if (gone.aborted) return reply.hijack()
        throw stopped()
      }
      reply.header('x-cache', cacheOf(first, call.job))
      if (first.kind !== 'chunk') {
        finish()
        const failure = failureOf(first)
        if (failure) return answerFailure(reply, call, failure, handover.shapeError)
      }
    }

    const text = encodeStream(resume(next, progress), {
      form,
      onDone: (outcome) => {
        finish()
        // Another attempt would only be for this client, which could not be sent it.
        if (outcome === 'broken' && call.isOwn) cancel()
      },
      describeStop: (error) => describeStop(error, request, deps),
    })
    const filled = fillSilences(text, (piece) => piece, { heartbeat: limits.heartbeat, signal: gone })
    return answerStream(reply, opensEarly ? openWithComment(filled) : filled)
  } catch (error) {
    finish()
    throw error
  }
}

/** Answers with the job itself. */
export function answerAsync(reply: FastifyReply, job: Job): FastifyReply {
  return reply
    .code(202)
    .headers({ location: `/v1/jobs/${job.id}`, 'preference-applied': 'respond-async' })
    .send(job)
}

/** Answers with server-sent events. */
export function answerStream(reply: FastifyReply, text: AsyncIterable<string>): FastifyReply {
  return (
    reply
      .type('text/event-stream; charset=utf-8')
      // Keeps nginx from buffering the answer.
      .headers({ 'cache-control': 'no-store, no-transform', 'x-accel-buffering': 'no' })
      .send(Readable.from(text, { objectMode: false }))
  )
}

/** Puts a comment first, so that the headers are sent. */
async function* openWithComment(text: AsyncGenerator<string>): AsyncGenerator<string> {
  yield COMMENT
  yield* text
}

/** False: the promise is still pending after `ms`. A rejected promise has settled. */
async function settlesWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  const timer = Promise.withResolvers<false>()
  const timeout = setTimeout(() => timer.resolve(false), ms)
  const settled = promise.then(
    () => true,
    () => true,
  )
  try {
    return await Promise.race([settled, timer.promise])
  } finally {
    clearTimeout(timeout)
  }
}

async function* resume(
  next: Promise<IteratorResult<CallProgress>>,
  rest: AsyncGenerator<CallProgress>,
): AsyncGenerator<CallProgress> {
  try {
    const { value: first } = await next
    if (first !== undefined) yield first
    yield* rest
  } finally {
    await rest.return(undefined)
  }
}

/** The error event for a stream that stops because of `error`; null: because the server closes or the key was revoked. */
export function describeStop(
  error: unknown,
  request: FastifyRequest,
  { server: { isUnavailable } }: { server: Pick<ServerParts, 'isUnavailable'> },
): Failure {
  if (error !== null) request.log.warn({ err: error }, 'a stream broke off')
  const shown = toApiError(error ?? stopped(), isUnavailable)
  return { status: shown.status, error: toErrorMembers(shown), isRetryable: shown.retryAfterSeconds !== null }
}

/** Runs the action when the client disconnects, unless the server closes. Returns a function that cancels that. */
export function onGone(gone: AbortSignal, closing: AbortSignal, action: () => void): () => void {
  const take = () => {
    if (!closing.aborted) action()
  }
  if (gone.aborted) take()
  else gone.addEventListener('abort', take)
  return () => gone.removeEventListener('abort', take)
}
