import type { Tenant } from '../../config/tenants.ts'
import type { BulkOutcome, Jobs } from '../../jobs/jobs.ts'
import type { NewJob } from '../../jobs/new-job.ts'
import type { JsonObject } from '../../lib/json.ts'
import type { ApiDeps, ApiLimits, ProviderAccess, ServerParts } from '../deps.ts'
import { toApiError } from '../error-replies.ts'
import { ApiError, type ErrorMembers, toErrorMembers } from '../errors.ts'
import { withFairKey } from '../fair-key.ts'
import { checkIdempotencyKey, type IdempotencyPolicy } from '../idempotency-key.ts'
import { parseRequest } from '../issues.ts'
import { isRetryable, noteEarliestStart } from '../jobs/accept.ts'
import { bulkLineSchema } from '../jobs/create-schema.ts'
import { keyReused, refused } from '../jobs/refusals.ts'
import { type SubmitDeps, toNewJob } from '../jobs/submit.ts'
import { refuseExcess } from '../json-bounds.ts'
import { requireOwnConversation } from '../openai/own-state.ts'
import { LARGE_TEXT_BYTES, parseJson, parseLargeJson } from '../parse-json.ts'
import type { Piece, Splitter } from './pieces.ts'

/** A batch is submitted when it has this many jobs or bytes. */
const maxBatchJobs = 250
const maxBatchBytes = 1024 * 1024

export type BulkAnswer =
  | { index: number; id: string; status: string }
  | { index: number; error: ErrorMembers }

export type SubmitBulkOptions = {
  tenant: Tenant
  /** The request id and trace that each job gets. */
  origin: Pick<NewJob, 'requestId' | 'trace'>
  splitter: Splitter
  /** For jobs without one; undefined: none. */
  fairKey: string | undefined
  /** Of the whole request. Each job gets one derived from it. */
  idempotencyKey: string | null
  /** What to do when the key's job failed or was cancelled. */
  policy: IdempotencyPolicy
  deps: SubmitDeps & {
    store: { jobs: Pick<Jobs, 'createMany' | 'retry'> }
    lanes: Pick<ApiDeps['lanes'], 'forecast'>
    providers: Pick<ProviderAccess, 'state'>
    server: Pick<ServerParts, 'isUnavailable' | 'log'>
  }
  limits: Pick<ApiLimits, 'bulkBytes' | 'bulkJobs' | 'bodyBytes'>
  closing: AbortSignal
}

type BulkEntry = { index: number; job: NewJob } | { index: number; error: ApiError }

/**
 * Creates the jobs of an upload and yields the answers, batch by batch and in order. Only one batch is in memory at a time, and the upload
 * is read no faster than the store accepts jobs. A bad job does not affect the others. If reading ends early (a limit, a broken array, the
 * server closes), the last answer says so at that index.
 *
 * Throws only before the first answer.
 */
export async function* submitBulk(
  upload: AsyncIterable<Buffer>,
  options: SubmitBulkOptions,
): AsyncGenerator<BulkAnswer[]> {
  const { splitter, deps, limits } = options
  let batch: BulkEntry[] = []
  let batchBytes = 0
  let index = 0
  let hasAnswered = false
  /** Once the store is unavailable, the following jobs are not tried. */
  let lost: ApiError | null = null

  async function take(piece: Piece): Promise<'more' | 'flush' | 'stop'> {
    if (index === limits.bulkJobs) return stop(tooMany(limits.bulkJobs))
    if (piece.kind === 'broken')
      return stop(new ApiError('invalid_request', `body: ${piece.what}`, { param: 'body' }))
    batch.push(lost === null ? await prepare(piece, index, options) : { index, error: lost })
    index++
    if (piece.kind === 'job') batchBytes += piece.text.length
    return batch.length >= maxBatchJobs || batchBytes >= maxBatchBytes ? 'flush' : 'more'
  }

  function stop(error: ApiError): 'stop' {
    batch.push({ index, error })
    return 'stop'
  }

  async function flush(): Promise<BulkAnswer[]> {
    const entries = batch
    batch = []
    batchBytes = 0
    const jobs: NewJob[] = []
    for (const entry of entries) {
      if (!('job' in entry)) continue
      // Without a forecast the job is accepted, as it is without a deadline.
      const job = await noteEarliestStart(entry.job, deps).catch(() => entry.job)
      jobs.push(job)
    }
    const outcomes = await retryFailed(await deps.store.jobs.createMany(jobs), options)
    const last = outcomes.at(-1)
    if (last?.kind === 'failed' && deps.server.isUnavailable(last.error)) {
      // No job was created: one answer for the whole upload is easier to retry.
      if (!hasAnswered && outcomes.every(({ kind }) => kind === 'failed')) throw last.error
      lost = toApiError(last.error, deps.server.isUnavailable)
    }
    const failed = outcomes.filter((outcome) => outcome.kind === 'failed')
    if (failed.length > 0) {
      const line = { err: failed[0]!.error, tenant: options.tenant.name, jobs: failed.length }
      deps.server.log.warn(line, 'jobs of an upload failed')
    }
    hasAnswered = true
    let next = 0
    return entries.map((entry) => {
      if ('error' in entry) return { index: entry.index, error: toErrorMembers(entry.error) }
      const place = next++
      return toAnswer(entry.index, outcomes[place]!, jobs[place] ?? entry.job, deps)
    })
  }

  async function* takeAll(pieces: Iterable<Piece>): AsyncGenerator<BulkAnswer[], 'more' | 'stop'> {
    for (const piece of pieces) {
      const then = await take(piece)
      if (then === 'flush') yield await flush()
      else if (then === 'stop') return 'stop'
    }
    return 'more'
  }

  async function* readAll(): AsyncGenerator<BulkAnswer[]> {
    let received = 0
    for await (const chunk of upload) {
      received += chunk.length
      if ((yield* takeAll(splitter.push(chunk))) === 'stop') return
      if (received > limits.bulkBytes) {
        stop(new ApiError('payload_too_large', `more than ${limits.bulkBytes} bytes; the rest was not read`))
        return
      }
      if (options.closing.aborted) {
        stop(new ApiError('unavailable', 'the server is closing; the rest was not read'))
        return
      }
    }
    yield* takeAll(splitter.end())
  }

  try {
    yield* readAll()
  } catch (error) {
    if (!hasAnswered || !(error instanceof ApiError)) throw error
    stop(error)
  }
  if (batch.length > 0) yield await flush()
}

/** Retries replayed jobs that failed or were cancelled, where the policy says so. One that cannot be retried is an error of its line. */
function retryFailed(
  outcomes: BulkOutcome[],
  { policy, tenant, deps }: SubmitBulkOptions,
): Promise<BulkOutcome[]> {
  if (policy !== 'retry-failed') return Promise.resolve(outcomes)
  return Promise.all(
    outcomes.map(async (outcome): Promise<BulkOutcome> => {
      if (outcome.kind !== 'replayed' || !isRetryable(outcome.status)) return outcome
      try {
        const retried = await deps.store.jobs.retry(tenant.name, outcome.id)
        return retried === null ? outcome : { ...outcome, status: retried.job.status }
      } catch (error) {
        return { kind: 'failed', error }
      }
    }),
  )
}

async function prepare(
  piece: Exclude<Piece, { kind: 'broken' }>,
  index: number,
  options: SubmitBulkOptions,
): Promise<BulkEntry> {
  try {
    if (piece.kind === 'too_large') {
      if (piece.excess !== null) throw refuseExcess(piece.excess, 'body')
      throw new ApiError('payload_too_large', `this job is larger than ${options.limits.bodyBytes} bytes`)
    }
    const { text } = piece
    const isLarge = text.length >= LARGE_TEXT_BYTES
    const value = isLarge ? await parseLargeJson(text, 'body') : parseJson(text, 'body', { isScanned: true })
    const line = parseRequest(bulkLineSchema, value, 'body')
    const { idempotency_key: own, ...create } = line
    const named = withFairKey(create, options.fairKey)
    await requireOwnConversation(options.tenant.name, named.type, named.body as JsonObject, options.deps)
    const job = toNewJob(options.tenant, named, chooseKey(own, index, options), options.deps)
    return { index, job: { ...job, ...options.origin } }
  } catch (error) {
    if (error instanceof ApiError) return { index, error }
    throw error
  }
}

/** A job's own key takes precedence. Otherwise the request's key with the job's index makes the whole upload repeatable. */
function chooseKey(own: string | null | undefined, index: number, options: SubmitBulkOptions): string | null {
  if (own) return checkIdempotencyKey(own)
  return options.idempotencyKey === null ? null : `${options.idempotencyKey}:${index}`
}

function toAnswer(
  index: number,
  outcome: BulkOutcome,
  job: NewJob,
  deps: SubmitBulkOptions['deps'],
): BulkAnswer {
  switch (outcome.kind) {
    case 'created':
    case 'replayed':
      return { index, id: outcome.id, status: outcome.status }
    case 'conflict':
      return { index, error: toErrorMembers(keyReused()) }
    case 'refused':
      return { index, error: toErrorMembers(refused(outcome, job)) }
    case 'failed':
      return { index, error: toErrorMembers(toFault(outcome.error, deps)) }
  }
}

function tooMany(limit: number): ApiError {
  return new ApiError(
    'payload_too_large',
    `more than ${limit} jobs; this one and those after it were not read`,
  )
}

/** If the store answered, there is no job. If it did not, there may be one. */
function toFault(error: unknown, { server: { isUnavailable } }: SubmitBulkOptions['deps']): ApiError {
  const shown = toApiError(error, isUnavailable)
  if (shown.code !== 'unavailable' || (error instanceof Error && error.name === 'ReplyError')) return shown
  return new ApiError(
    'unavailable',
    'the store did not answer, and the job may have been created: send it again with the same idempotency key',
  )
}
