import type { FastifyRequest } from 'fastify'
import type { CacheMode, Job } from '../../jobs/job.ts'
import type { NewJob } from '../../jobs/new-job.ts'
import { tenantOf } from '../auth.ts'
import type { ApiDeps } from '../deps.ts'
import { parseFairKey, withFairKey } from '../fair-key.ts'
import { parseIdempotencyKey, parseIdempotencyPolicy } from '../idempotency-key.ts'
import { acceptOrRetry } from '../jobs/accept.ts'
import type { CreateJob } from '../jobs/create-schema.ts'
import { toNewJob } from '../jobs/submit.ts'
import { originOf } from '../origin.ts'
import { prefersAsync } from '../prefer.ts'

/** A request of an OpenAI client as a job. */
export type OpenAiCall = {
  tenant: string
  job: Job
  /** True: this request created the job, or queued it again. When its client disconnects, nobody waits for the job. */
  isOwn: boolean
  /** True: the job's events begin with this request. */
  isFresh: boolean
  /** See NewJob. */
  isShownLive: boolean
  /** True: an idempotency key returned a job of an earlier request, with its end if it has one. */
  isReplayed: boolean
}

/** The part of a create object that a provider's request provides. */
export type Asked = Pick<CreateJob, 'type' | 'body'> & {
  /** See NewJob. */
  previousResponseId?: string
  /** Files that came with the request, and belong to the job. */
  files?: readonly string[]
  /** Called when a job has taken over these files. */
  onTaken?: () => void
  /** The source of its lane that the call must use; absent: any. */
  source?: string
  /** Nobody waits on the connection, so a cancelled job was cancelled on purpose. */
  inBackground?: boolean
}

/**
 * Creates a job for a provider's request; its headers set the rest. Throws like `acceptOrRetry` and `toNewJob`.
 *
 * @param isShownLive whether the client gets the chunks while they arrive
 */
export async function openCall(
  request: FastifyRequest,
  asked: Asked,
  isShownLive: boolean,
  deps: ApiDeps,
): Promise<OpenAiCall> {
  const tenant = tenantOf(request)
  const key = parseIdempotencyKey(request.headers['idempotency-key'])
  const { type, body, previousResponseId, source, files, inBackground = false } = asked
  const create = withFairKey(
    { type, body, cache: readCacheMode(request.headers['cache-control']) } as CreateJob,
    parseFairKey(request.headers['x-fair-key']),
  )
  const isAwaited = !inBackground && !prefersAsync(request.headers.prefer)
  const newJob: NewJob = {
    ...toNewJob(tenant, create, key, deps, isAwaited),
    ...originOf(request),
    isShownLive,
    isAwaited,
  }
  if (files !== undefined && files.length > 0) newJob.files = files
  if (source !== undefined) newJob.cost = { ...newJob.cost, source }
  if (previousResponseId !== undefined) newJob.previousResponseId = previousResponseId
  const policy = parseIdempotencyPolicy(request.headers['idempotency-key-policy'])
  const { job, isReplayed, isRetried } = await acceptOrRetry(newJob, policy, deps)
  if (!isReplayed) asked.onTaken?.()
  const call = { tenant: tenant.name, job, isShownLive, isReplayed: isReplayed && !isRetried }
  if (!isReplayed) return { ...call, isOwn: true, isFresh: true }
  if (isRetried) return { ...call, isOwn: true, isFresh: false }
  if (job.status !== 'cancelled' || inBackground) return { ...call, isOwn: false, isFresh: false }
  // Its client disconnected, which cancelled the job, and has come back.
  const retried = await deps.store.jobs.retry(tenant.name, job.id)
  return { ...call, job: retried?.job ?? job, isReplayed: false, isOwn: true, isFresh: false }
}

/** RFC 9111 section 5.2.1: `no-store` does not use the cache at all, `no-cache` asks for a new answer. */
export function readCacheMode(header: string | undefined): CacheMode {
  const directives = (header ?? '')
    .toLowerCase()
    .split(',')
    .map((directive) => directive.trim())
  if (directives.includes('no-store')) return 'off'
  return directives.includes('no-cache') ? 'refresh' : 'use'
}
