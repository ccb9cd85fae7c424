import type { FastifyRequest } from 'fastify'
import type { CacheMode, Job } from '../../jobs/job.ts'
import type { NewJob } from '../../jobs/jobs.ts'
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
  /** True: this request made the job (or brought it back), so when its client goes away nobody waits for it. */
  isOwn: boolean
  /** True: the job's events begin with this request. */
  isFresh: boolean
  /** See NewJob. */
  isShownLive: boolean
  /** True: an idempotency key brought a job back that an earlier request made, with its end if it has one. */
  isReplayed: boolean
}

/** The part of a create object that a provider's request is. */
export type Asked = Pick<CreateJob, 'type' | 'body'> & {
  /** See NewJob. */
  previousResponseId?: string
  /** Files that came with the request, and go with the job. */
  files?: readonly string[]
  /** A job has taken these files. */
  onTaken?: () => void
  /** The source of its lane that it has to go to; absent: any. */
  source?: string
  /** Nobody holds the connection, so a cancelled job was cancelled on purpose. */
  inBackground?: boolean
}

/**
 * Makes a provider's request a job like any other; its headers say the rest. Throws what `acceptOrRetry` and `toNewJob` do.
 *
 * @param isShownLive whether the client is shown the chunks as they come
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
  // Its client went away, which cancelled it, and is back.
  const retried = await deps.store.jobs.retry(tenant.name, job.id)
  return { ...call, job: retried?.job ?? job, isReplayed: false, isOwn: true, isFresh: false }
}

/** RFC 9111 section 5.2.1: `no-store` keeps out of the cache altogether, `no-cache` wants a new answer. */
export function readCacheMode(header: string | undefined): CacheMode {
  const directives = (header ?? '')
    .toLowerCase()
    .split(',')
    .map((directive) => directive.trim())
  if (directives.includes('no-store')) return 'off'
  return directives.includes('no-cache') ? 'refresh' : 'use'
}
