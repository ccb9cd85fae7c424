import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Job } from '../../jobs/job.ts'
import type { RouteContext } from '../deps.ts'
import { abortOnDisconnect } from '../disconnect.ts'
import { toApiError } from '../error-replies.ts'
import { ApiError, toErrorMembers } from '../errors.ts'
import { prefersAsync } from '../prefer.ts'
import { fillSilences } from '../sse.ts'
import { type Asked, openCall } from './call.ts'
import type { Failure } from './failure.ts'
import { encodeStream, failureOf, type StreamForm } from './stream.ts'
import { type Progress, watchCall } from './watch.ts'

/** Seconds after which a failure that asking again may cure is worth another request. */
const RETRY_AFTER = 2

/**
 * Answers a provider's request by a job: with its result, as a stream where `form` says how, or with the job itself
 * for `Prefer: respond-async`. Holds the connection as long as the job takes; the lane's time-outs decide.
 *
 * Headers go out with the first piece of the answer, so that a failure before it is a plain HTTP error. The job is
 * cancelled when its client goes away, not when this server closes: who asks again then finds the call under way.
 */
export async function answerCall(
  request: FastifyRequest,
  reply: FastifyReply,
  asked: Asked,
  form: StreamForm | null,
  { deps, limits, closing }: RouteContext,
): Promise<FastifyReply> {
  const gone = abortOnDisconnect(reply)
  const isAsync = prefersAsync(request.headers.prefer)
  const call = await openCall(request, asked, form !== null && !isAsync, deps)
  reply.header('x-job-id', call.job.id).header('x-cache', call.job.cache)
  if (isAsync) return answerAsync(reply, call.job)

  const cancel = () => {
    deps.jobs
      .cancel(call.tenant, call.job.id)
      .catch((error) => request.log.warn({ err: error }, 'cancelling a job'))
  }
  const finish = call.isOwn ? onGone(gone, closing, cancel) : () => {}
  const progress = watchCall(deps.jobs, call, AbortSignal.any([gone, closing]))
  try {
    const { value: first } = await progress.next()
    if (first === undefined) {
      if (gone.aborted) return reply.hijack()
      throw stopped()
    }
    reply.header('x-cache', cacheOf(first, call.job))
    if (first.kind !== 'chunk') {
      finish()
      const failure = failureOf(first)
      if (failure) return answerFailure(reply, failure)
    }
    if (form === null) return answerResult(reply, first)

    const text = encodeStream(resume(first, progress), {
      form,
      onDone: (outcome) => {
        finish()
        // Another attempt would only be for this client, which cannot be shown it.
        if (outcome === 'broken' && call.isOwn) cancel()
      },
      describeStop: (error) => {
        if (error !== null) request.log.warn({ err: error }, 'a stream broke off')
        return describeStop(error ?? stopped(), deps.isUnavailable)
      },
    })
    return answerStream(
      reply,
      fillSilences(text, (piece) => piece, { heartbeat: limits.heartbeat, signal: gone }),
    )
  } catch (error) {
    finish()
    throw error
  }
}

function answerAsync(reply: FastifyReply, job: Job): FastifyReply {
  return reply
    .code(202)
    .headers({ location: `/v1/jobs/${job.id}`, 'preference-applied': 'respond-async' })
    .send(job)
}

function answerResult(reply: FastifyReply, step: Progress): FastifyReply {
  const result = step.kind === 'ended' ? step.job.result : null
  // Not the route's serializer: a result goes out as it is.
  return reply
    .type('application/json; charset=utf-8')
    .serializer((payload: unknown) => JSON.stringify(payload))
    .send(result ?? {})
}

function answerFailure(reply: FastifyReply, { status, error, isRetryable }: Failure): FastifyReply {
  return reply
    .code(status)
    .headers({
      'cache-control': 'no-store',
      ...(isRetryable ? { 'retry-after': String(RETRY_AFTER) } : { 'x-should-retry': 'false' }),
    })
    .type('application/json; charset=utf-8')
    .serializer((payload: unknown) => JSON.stringify(payload))
    .send({ error })
}

function answerStream(reply: FastifyReply, text: AsyncIterable<string>): FastifyReply {
  return (
    reply
      .type('text/event-stream; charset=utf-8')
      // nginx buffers answers otherwise.
      .headers({ 'cache-control': 'no-store, no-transform', 'x-accel-buffering': 'no' })
      .send(Readable.from(text, { objectMode: false }))
  )
}

/** Chunks come of a call of the job's own; whoever shares another's, or the cache's, answer gets it whole. */
function cacheOf(step: Progress, job: Job): Job['cache'] {
  if (step.kind === 'ended') return step.job.cache
  return job.cache === 'off' ? 'off' : 'miss'
}

async function* resume(first: Progress, rest: AsyncGenerator<Progress>): AsyncGenerator<Progress> {
  try {
    yield first
    yield* rest
  } finally {
    await rest.return(undefined)
  }
}

/** The signal ended the progress; a client that went away does not read this. */
function stopped(): ApiError {
  return new ApiError('unavailable', 'the server is closing; ask again to get this answer', {
    retryAfterSeconds: 1,
  })
}

function describeStop(error: unknown, isUnavailable: (error: unknown) => boolean): Failure {
  const shown = toApiError(error, isUnavailable)
  return { status: shown.status, error: toErrorMembers(shown), isRetryable: shown.retryAfterSeconds !== null }
}

/** Runs the action when the client goes away, unless the server closes. The function given takes that back. */
function onGone(gone: AbortSignal, closing: AbortSignal, action: () => void): () => void {
  const take = () => {
    if (!closing.aborted) action()
  }
  if (gone.aborted) take()
  else gone.addEventListener('abort', take)
  return () => gone.removeEventListener('abort', take)
}
