import type { FastifyRequest } from 'fastify'
import type { CacheMode, Job } from '../../jobs/job.ts'
import type { NewJob } from '../../jobs/jobs.ts'
import { tenantOf } from '../auth.ts'
import type { ApiDeps } from '../deps.ts'
import { parseIdempotencyKey } from '../idempotency-key.ts'
import { originOf } from '../origin.ts'
import { prefersAsync } from '../prefer.ts'
import type { CreateJob } from '../schemas/create-job.ts'
import { acceptJob, toNewJob } from '../submit.ts'

/** A request of an OpenAI client as a job. */
export type Call = {
  tenant: string
  job: Job
  /** True: this request made the job (or brought it back), so when its client goes away nobody waits for it. */
  isOwn: boolean
  /** True: the job's events begin with this request. */
  isFresh: boolean
  /** See NewJob. */
  isShownLive: boolean
}

/** The part of a create object that a provider's request is. */
export type Asked = Pick<CreateJob, 'type' | 'body'> & {
  /** See NewJob. */
  previousResponseId?: string
  /** Nobody holds the connection, so a cancelled job was cancelled on purpose. */
  inBackground?: boolean
}

/**
 * Makes a provider's request a job like any other; its headers say the rest. Throws what `acceptJob` and `toNewJob` do.
 *
 * @param isShownLive whether the client is shown the chunks as they come
 */
export async function openCall(
  request: FastifyRequest,
  asked: Asked,
  isShownLive: boolean,
  deps: ApiDeps,
): Promise<Call> {
  const tenant = tenantOf(request)
  const key = parseIdempotencyKey(request.headers['idempotency-key'])
  const { type, body, previousResponseId, inBackground = false } = asked
  const create = { type, body, cache: readCacheMode(request.headers['cache-control']) } as CreateJob
  const isAwaited = !inBackground && !prefersAsync(request.headers.prefer)
  const newJob: NewJob = {
    ...toNewJob(tenant, create, key, deps),
    ...originOf(request),
    isShownLive,
    isAwaited,
  }
  if (previousResponseId !== undefined) newJob.previousResponseId = previousResponseId
  const { job, isReplayed } = await acceptJob(newJob, deps)
  if (!isReplayed) return { tenant: tenant.name, job, isOwn: true, isFresh: true, isShownLive }
  if (job.status !== 'cancelled' || inBackground)
    return { tenant: tenant.name, job, isOwn: false, isFresh: false, isShownLive }
  // Its client went away, which cancelled it, and is back.
  const retried = await deps.jobs.retry(tenant.name, job.id)
  return { tenant: tenant.name, job: retried?.job ?? job, isOwn: true, isFresh: false, isShownLive }
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
