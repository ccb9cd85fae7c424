import type { FastifyReply } from 'fastify'
import { isTerminal, type Job } from '../../jobs/job.ts'
import { parseLargeResult, readResultText } from '../../jobs/job-result.ts'
import type { JsonObject } from '../../lib/json.ts'
import { stringifyJson } from '../../lib/json-source.ts'
import type { RouteContext } from '../deps.ts'
import { ApiError } from '../errors.ts'
import type { OpenAiCall } from './call.ts'
import type { Failure } from './failure.ts'
import { failureOf, type StreamForm } from './stream.ts'
import { type CallProgress, watchCall } from './watch.ts'

/** `retry-after` of a failure that a retry may cure, s. */
const RETRY_AFTER = 2

/** @param requestId id of the request that is answered */
export type ShapeError = (failure: Pick<Failure, 'status' | 'error'>, requestId: string) => JsonObject

/** How an endpoint sends its answers. */
export type Handover = {
  /** Null: in one piece, without chunks. */
  stream: ((call: OpenAiCall) => StreamForm) | null
  /** Sends the answer of a completed job, instead of its result. */
  send?: (reply: FastifyReply, call: OpenAiCall, job: Job) => Promise<FastifyReply>
  /** Converts the result for this client; default: unchanged. */
  render?: (job: Job, result: JsonObject) => JsonObject
  /** Default: `watchCall`. */
  watch?: typeof watchCall
  /** Sends the answer while its bytes arrive, instead of everything else here. */
  sendLive?: (reply: FastifyReply, call: OpenAiCall, about: LiveAnswer) => Promise<FastifyReply>
  /** Shapes the body of an error; default: OpenAI's shape. */
  shapeError?: ShapeError
}

/** What an answer needs that is sent while its job runs. */
export type LiveAnswer = {
  jobs: RouteContext['deps']['store']['jobs']
  /** Aborts when this server closes. */
  closing: AbortSignal
  /** Cancels the job, because its client has disconnected. */
  cancel: () => void
}

/** Answers in one piece, with the result or the error. */
export async function answerWhole(
  reply: FastifyReply,
  call: OpenAiCall,
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
  if (failure) return answerFailure(reply, call, failure, handover.shapeError)
  if (handover.send !== undefined && end.kind === 'ended') return handover.send(reply, call, end.job)
  if (handover.render !== undefined && end.kind === 'ended') await parseLargeResult(end.job)
  return answerResult(reply, end, handover.render)
}

/** The end of a call's job; null if the client disconnected. Throws if the server closes. */
async function awaitEnd(
  reply: FastifyReply,
  call: OpenAiCall,
  handover: Handover,
  cancel: () => void,
  { deps, closing }: Pick<RouteContext, 'deps' | 'closing'>,
): Promise<CallProgress | null> {
  let isGone = reply.raw.destroyed
  // `AbortSignal.any` would add a reference to long-lived signals for each call.
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
    for await (const step of (handover.watch ?? watchCall)(deps.store.jobs, call, stop.signal)) {
      if (step.kind !== 'chunk') return step
    }
  } finally {
    reply.raw.off('close', leave)
    closing.removeEventListener('abort', close)
  }
  if (isGone) return null
  throw stopped()
}

/** Bypasses the route's serializer, because a result is sent unchanged. A result that nobody changes is not even parsed. */
function answerResult(reply: FastifyReply, step: CallProgress, render: Handover['render']): FastifyReply {
  return reply.type('application/json; charset=utf-8').serializer(asItIs).send(writeResult(step, render))
}

function writeResult(step: CallProgress, render: Handover['render']): string {
  if (step.kind !== 'ended') return '{}'
  const text = render === undefined ? readResultText(step.job) : null
  if (text !== null) return text
  const { result } = step.job
  return result === null ? '{}' : stringifyJson(render?.(step.job, result) ?? result)
}

function asItIs(payload: unknown): string {
  return payload as string
}

export function answerFailure(
  reply: FastifyReply,
  call: OpenAiCall,
  failure: Failure,
  shape: ShapeError = ({ error }) => ({ error }),
): FastifyReply {
  const { status, error, isRetryable } = call.isReplayed ? sayReplayed(failure, call.job.id) : failure
  return reply
    .code(status)
    .headers({
      'cache-control': 'no-store',
      ...(isRetryable ? { 'retry-after': String(RETRY_AFTER) } : { 'x-should-retry': 'false' }),
    })
    .type('application/json; charset=utf-8')
    .serializer((payload: unknown) => JSON.stringify(payload))
    .send(shape({ status, error }, reply.request.id))
}

/** The same key would return the same failure, however often it is sent. */
function sayReplayed(failure: Failure, id: string): Failure {
  const message =
    `${failure.error.message} (This is the earlier failure of job ${id}, which the Idempotency-Key names. ` +
    'Send another key, or Idempotency-Key-Policy: retry-failed, for a new attempt.)'
  return { ...failure, error: { ...failure.error, message }, isRetryable: false }
}

/** Only a job with a call of its own gets chunks. A job with a shared or cached answer gets it whole. */
export function cacheOf(step: Pick<CallProgress, 'kind'> & { job?: Job; of?: Job }, job: Job): Job['cache'] {
  const ended = step.job ?? step.of
  if (ended !== undefined) return ended.cache
  return job.cache === 'off' ? 'off' : 'miss'
}

/** The server closes or the key was revoked. A client that disconnected does not read this. */
export function stopped(): ApiError {
  const message = 'the server is closing, or the key was revoked; ask again to get this answer'
  return new ApiError('unavailable', message, { retryAfterSeconds: 1 })
}
