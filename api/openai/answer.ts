import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { isTerminal, type Job } from '../../jobs/job.ts'
import { parseLargeResult, readResultText } from '../../jobs/job-result.ts'
import type { JsonObject } from '../../lib/json.ts'
import { stringifyJson } from '../../lib/json-source.ts'
import type { ApiDeps, RouteContext } from '../deps.ts'
import { abortOnDisconnect } from '../disconnect.ts'
import { toApiError } from '../error-replies.ts'
import { ApiError, toErrorMembers } from '../errors.ts'
import { prefersAsync } from '../prefer.ts'
import { COMMENT, fillSilences } from '../sse.ts'
import { type Asked, type Call, openCall } from './call.ts'
import type { Failure } from './failure.ts'
import { encodeStream, failureOf, type StreamForm } from './stream.ts'
import { type Progress, watchCall } from './watch.ts'

/** Seconds after which a failure that asking again may cure is worth another request. */
const RETRY_AFTER = 2

/** How an endpoint hands its answers over. */
export type Handover = {
  /** Null: in one piece. Such answers have no chunks. */
  stream: ((call: Call) => StreamForm) | null
  /** The result as this client is to see it; default: as it is. */
  render?: (job: Job, result: JsonObject) => JsonObject
  /** Default: `watchCall`. */
  watch?: typeof watchCall
}

/**
 * Answers a provider's request by a job: with its result, as a stream where asked for, or with the job itself
 * for `Prefer: respond-async`. Holds the connection as long as the job takes; the lane's time-outs decide.
 *
 * Headers go out with the first piece of the answer, so that a failure before it is a plain HTTP error. A stream whose first
 * piece takes longer than `server.early_headers` sends them before it, for clients and proxies give up on a silent server
 * (Node's fetch after 300 s); a failure is then an event of the stream. The job is cancelled when its client goes away, not when this server closes: who asks again then finds the call under way.
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
  const call = await openCall(request, asked, isStream, deps)
  reply.header('x-job-id', call.job.id).header('x-cache', call.job.cache)
  if (call.job.dropped_members.length > 0) {
    reply.header('x-dropped-members', call.job.dropped_members.join(', '))
  }
  if (call.isReplayed) reply.header('idempotent-replayed', 'true')
  if (isAsync) return answerAsync(reply, call.job)

  const cancel = () => {
    deps.jobs
      .cancel(call.tenant, call.job.id)
      .catch((error) => request.log.warn({ err: error }, 'cancelling a job'))
  }
  if (handover.stream === null || gone === null || revoked === null)
    return answerWhole(reply, call, handover, cancel, { deps, closing })
  const form = handover.stream(call)
  const finish = call.isOwn ? onGone(gone, closing, cancel) : () => {}
  const progress = (handover.watch ?? watchCall)(deps.jobs, call, AbortSignal.any([gone, closing, revoked]))
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
        if (failure) return answerFailure(reply, call, failure)
      }
    }

    const text = encodeStream(resume(next, progress), {
      form,
      onDone: (outcome) => {
        finish()
        // Another attempt would only be for this client, which cannot be shown it.
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

/** Answers in one piece, with the result or what went wrong. */
async function answerWhole(
  reply: FastifyReply,
  call: Call,
  handover: Handover,
  cancel: () => void,
  { deps, closing }: Pick<RouteContext, 'deps' | 'closing'>,
): Promise<FastifyReply> {
  const end = isTerminal(call.job.status)
    ? ({ kind: 'ended', job: call.job } as const)
    : await awaitEnd(reply, call, handover, cancel, { deps, closing })
  if (end === null) return reply.hijack()
  reply.header('x-cache', cacheOf(end, call.job))
  const failure = failureOf(end)
  if (failure) return answerFailure(reply, call, failure)
  if (handover.render !== undefined && end.kind === 'ended') await parseLargeResult(end.job)
  return answerResult(reply, end, handover.render)
}

/** The end of a call's job; null where its client went away. Throws where the server closes. */
async function awaitEnd(
  reply: FastifyReply,
  call: Call,
  handover: Handover,
  cancel: () => void,
  { deps, closing }: Pick<RouteContext, 'deps' | 'closing'>,
): Promise<Progress | null> {
  let isGone = reply.raw.destroyed
  // Not `AbortSignal.any`: signals that outlive the call would gather a reference for each.
  const stop = new AbortController()
  const leave = () => {
    isGone = true
    if (call.isOwn && !closing.aborted) cancel()
    stop.abort()
  }
  const close = () => stop.abort()
  reply.raw.once('close', leave)
  closing.addEventListener('abort', close)
  if (isGone) leave()
  if (closing.aborted) close()
  try {
    for await (const step of (handover.watch ?? watchCall)(deps.jobs, call, stop.signal)) {
      if (step.kind !== 'chunk') return step
    }
  } finally {
    reply.raw.off('close', leave)
    closing.removeEventListener('abort', close)
  }
  if (isGone) return null
  throw stopped()
}

/** Answers with the job itself. */
export function answerAsync(reply: FastifyReply, job: Job): FastifyReply {
  return reply
    .code(202)
    .headers({ location: `/v1/jobs/${job.id}`, 'preference-applied': 'respond-async' })
    .send(job)
}

/** Not by the route's serializer, for a result goes out as it is; one that nobody changes is not even parsed. */
function answerResult(reply: FastifyReply, step: Progress, render: Handover['render']): FastifyReply {
  return reply.type('application/json; charset=utf-8').serializer(asItIs).send(writeResult(step, render))
}

function writeResult(step: Progress, render: Handover['render']): string {
  if (step.kind !== 'ended') return '{}'
  const text = render === undefined ? readResultText(step.job) : null
  if (text !== null) return text
  const { result } = step.job
  return result === null ? '{}' : stringifyJson(render?.(step.job, result) ?? result)
}

function asItIs(payload: unknown): string {
  return payload as string
}

function answerFailure(reply: FastifyReply, call: Call, failure: Failure): FastifyReply {
  const { status, error, isRetryable } = call.isReplayed ? sayReplayed(failure, call.job.id) : failure
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

/** The same key would bring the same failure again, however often it is sent. */
function sayReplayed(failure: Failure, id: string): Failure {
  const message =
    `${failure.error.message} (This is the earlier failure of job ${id}, which the Idempotency-Key names. ` +
    'Send another key, or Idempotency-Key-Policy: retry-failed, for a new attempt.)'
  return { ...failure, error: { ...failure.error, message }, isRetryable: false }
}

/** Answers with server-sent events. */
export function answerStream(reply: FastifyReply, text: AsyncIterable<string>): FastifyReply {
  return (
    reply
      .type('text/event-stream; charset=utf-8')
      // nginx buffers answers otherwise.
      .headers({ 'cache-control': 'no-store, no-transform', 'x-accel-buffering': 'no' })
      .send(Readable.from(text, { objectMode: false }))
  )
}

/** Puts a comment in front, with which the headers leave. */
async function* openWithComment(text: AsyncGenerator<string>): AsyncGenerator<string> {
  yield COMMENT
  yield* text
}

/** False: the promise is still pending after so many ms. A promise that rejects has settled. */
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

/** Chunks come of a call of the job's own; whoever shares another's, or the cache's, answer gets it whole. */
function cacheOf(step: Progress, job: Job): Job['cache'] {
  if (step.kind === 'ended') return step.job.cache
  return job.cache === 'off' ? 'off' : 'miss'
}

async function* resume(
  next: Promise<IteratorResult<Progress>>,
  rest: AsyncGenerator<Progress>,
): AsyncGenerator<Progress> {
  try {
    const { value: first } = await next
    if (first !== undefined) yield first
    yield* rest
  } finally {
    await rest.return(undefined)
  }
}

/** A signal ended the progress; a client that went away does not read this. */
function stopped(): ApiError {
  const message = 'the server is closing, or the key was revoked; ask again to get this answer'
  return new ApiError('unavailable', message, { retryAfterSeconds: 1 })
}

/** What to tell the client of a stream that stops: by `error`, or with its connection where that is null. */
export function describeStop(
  error: unknown,
  request: FastifyRequest,
  { isUnavailable }: Pick<ApiDeps, 'isUnavailable'>,
): Failure {
  if (error !== null) request.log.warn({ err: error }, 'a stream broke off')
  const shown = toApiError(error ?? stopped(), isUnavailable)
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
