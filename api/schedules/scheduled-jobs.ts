import { underTerms } from '../../config/key-terms.ts'
import { resolveTenant, type Tenant } from '../../config/tenants.ts'
import { InputError } from '../../jobs/input-error.ts'
import { isTerminal } from '../../jobs/job.ts'
import type { BulkOutcome } from '../../jobs/jobs.ts'
import type { NewJob } from '../../jobs/new-job.ts'
import type { JsonObject } from '../../lib/json.ts'
import type { Launched, Launcher, LaunchOrder } from '../../schedules/launch.ts'
import type { ApiDeps, ApiStore } from '../deps.ts'
import { fromInputError } from '../error-replies.ts'
import { ApiError } from '../errors.ts'
import { noteEarliestStart } from '../jobs/accept.ts'
import type { CreateJob } from '../jobs/create-schema.ts'
import { refused } from '../jobs/refusals.ts'
import { type SubmitDeps, toNewJob } from '../jobs/submit.ts'
import { refuseOwnMetadata, toOwnMetadata } from './own-metadata.ts'

/** Retry after this time when a full queue gives no retry time, ms. */
const REFUSED_MS = 1000

/** Refuses a job that `POST /v1/jobs` would refuse, with paths below `job`: `model_not_found`, `exceeds_limit` and so on. */
export function checkScheduledJob(tenant: Tenant, create: CreateJob, deps: SubmitDeps): void {
  refuseOwnMetadata(create.metadata, 'job')
  try {
    toNewJob(tenant, create, null, deps)
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    throw new ApiError(error.code, `job.${error.message}`, {
      param: error.param === null ? 'job' : `job.${error.param}`,
    })
  }
}

/**
 * Makes the job of a slot. It asks the provider again unless the create object says otherwise: a schedule is not for yesterday's cached
 * answer.
 */
export function toScheduledJob(
  tenant: Tenant,
  create: CreateJob,
  order: Omit<LaunchOrder, 'tenant'>,
  deps: SubmitDeps,
): NewJob {
  const { idempotencyKey } = order
  const metadata = toOwnMetadata(create.metadata, order)
  const job = toNewJob(
    tenant,
    { ...create, cache: create.cache ?? 'refresh', metadata },
    idempotencyKey,
    deps,
  )
  // The settings may change while a slot is under way; it is still the same slot.
  return { ...job, fingerprint: idempotencyKey }
}

/** Creates the jobs of schedules, for the workers. */
export function createJobLauncher(
  deps: SubmitDeps &
    Pick<ApiDeps, 'config'> & {
      lanes: Pick<ApiDeps['lanes'], 'forecast'>
      store: { jobs: Pick<ApiStore['jobs'], 'createMany' | 'statuses' | 'cancel'> }
    },
): Launcher {
  const { jobs } = deps.store
  let waiting: { job: NewJob; resolve: (outcome: BulkOutcome) => void }[] = []

  /** Submits the jobs of one moment together; otherwise each job of a thousand slots would be queued separately. */
  function create(job: NewJob): Promise<BulkOutcome> {
    return new Promise((resolve) => {
      if (waiting.push({ job, resolve }) === 1) setImmediate(createWaiting)
    })
  }

  async function createWaiting(): Promise<void> {
    const together = waiting
    waiting = []
    // `createMany` never throws.
    const outcomes = await jobs.createMany(together.map(({ job }) => job))
    for (const [index, { resolve }] of together.entries()) resolve(outcomes[index]!)
  }

  async function launch(body: JsonObject, order: LaunchOrder): Promise<Launched> {
    const owner = resolveTenant(deps.config(), order.tenant)
    if (owner === null) throw new Error('the tenant of a schedule is no longer configured')
    const tenant = underTerms(owner, order.terms)
    const job = await noteEarliestStart(toScheduledJob(tenant, body as CreateJob, order, deps), deps)
    const outcome = await create(job)
    if (outcome.kind === 'conflict') throw new Error('a slot has the job of another')
    if (outcome.kind === 'failed') {
      if (outcome.error instanceof InputError) return toRefused(fromInputError(outcome.error), null)
      throw outcome.error
    }
    if (outcome.kind !== 'refused') return { kind: 'created', id: outcome.id }
    const { code } = outcome
    const mayPass = code !== 'deadline_unreachable' && code !== 'budget_exhausted' && code !== 'unpriced'
    return toRefused(refused(outcome, job), mayPass ? (outcome.retryAfterMs ?? REFUSED_MS) : null)
  }

  return {
    async launch(create, order) {
      try {
        return await launch(create, order)
      } catch (error) {
        // The configuration has changed since the schedule was created.
        if (error instanceof ApiError) return toRefused(error, null)
        throw error
      }
    },
    async isOpen(tenant, id) {
      const [status] = await jobs.statuses(tenant, [id])
      return status !== null && status !== undefined && !isTerminal(status)
    },
    async cancel(tenant, id) {
      await jobs.cancel(tenant, id)
    },
  }
}

function toRefused({ code, message }: ApiError, retryAfterMs: number | null): Launched {
  return { kind: 'refused', error: { code, message }, retryAfterMs }
}
