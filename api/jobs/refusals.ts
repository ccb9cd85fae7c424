import { type BudgetShortage, describeBudget, toShortUsd } from '../../jobs/budgets.ts'
import type { Refusal } from '../../jobs/jobs.ts'
import type { NewJob } from '../../jobs/new-job.ts'
import type { ServerParts } from '../deps.ts'
import { ApiError } from '../errors.ts'

/** The idempotency key was used before with another payload. */
export function keyReused(): ApiError {
  return new ApiError('idempotency_key_reused', 'Idempotency-Key: was used before with another payload', {
    param: 'Idempotency-Key',
  })
}

/** For uploads, which would fill the memory before any job is refused. */
export async function refuseWithoutMemory(deps: {
  server: Pick<ServerParts, 'isMemoryShort'>
}): Promise<void> {
  if (await deps.server.isMemoryShort()) throw memoryShort(5)
}

function memoryShort(retryAfterSeconds: number): ApiError {
  return new ApiError(
    'unavailable',
    'the memory of the store is almost full; accepted work continues, new work is accepted again when there is room',
    { retryAfterSeconds },
  )
}

const refusals: Record<
  Exclude<
    Refusal['code'],
    | 'deadline_unreachable'
    | 'memory_short'
    | 'lanes_full'
    | 'fair_key_full'
    | 'flow_over'
    | 'flow_budget_exhausted'
    | 'unpriced'
  >,
  string
> = {
  queue_full: 'the tenant has as many jobs waiting as it may; wait for some to finish',
  rate_limited: 'the tenant submits faster than limits.requests_per_minute allows',
  budget_exhausted: 'spending plus the possible cost of waiting jobs would exceed a budget',
}

/** Which budget has no room for a job, and when its next window begins. */
export function describeShortage(shortage: BudgetShortage): string {
  const { spentUsd, reservedUsd, neededUsd, endsAt } = shortage
  const [spent, reserved, needed] = [spentUsd, reservedUsd, neededUsd].map(toShortUsd)
  const opens = endsAt === null ? '' : `; its next window begins at ${new Date(endsAt).toISOString()}`
  return (
    `${describeBudget(shortage)}, has no room: ${spent} USD are spent, ${reserved} are reserved for open jobs, ` +
    `and this job may cost ${needed}${opens}`
  )
}

/** The error for a job that the store refused. */
export function refused(
  refusal: Refusal,
  job: Pick<NewJob, 'earliestStart' | 'lane' | 'maxLanes' | 'fairKey' | 'limits'>,
): ApiError {
  if (refusal.code === 'deadline_unreachable' && refusal.retryAfterMs !== null) {
    const seconds = Math.ceil(refusal.retryAfterMs / 1000)
    return new ApiError(
      'deadline_unreachable',
      `deadline: the requests per minute of the fair key let the job start in ${seconds} s at the earliest`,
      { param: 'deadline' },
    )
  }
  if (refusal.code === 'deadline_unreachable') {
    const earliest = new Date(job.earliestStart ?? 0).toISOString()
    return new ApiError(
      'deadline_unreachable',
      `deadline: under the present backlog the job would start at ${earliest} at the earliest`,
      { param: 'deadline' },
    )
  }
  if (refusal.code === 'lanes_full') {
    const provider = job.lane.slice(0, job.lane.indexOf('/'))
    return new ApiError(
      'queue_full',
      `body.model: the tenant uses as many models of ${provider} as it may at a time (providers.${provider}.max_lanes: ${job.maxLanes})`,
      { param: 'body.model', retryAfterSeconds: (refusal.retryAfterMs ?? 0) / 1000 },
    )
  }
  if (refusal.code === 'fair_key_full') {
    return new ApiError(
      'queue_full',
      `fair_key ${JSON.stringify(job.fairKey)}: has as many jobs waiting as one fair key of this tenant may (per_fair_key.max_queued: ${job.limits.perFairKey?.maxQueued}); wait for some to finish`,
      {
        param: 'fair_key',
        ...(refusal.retryAfterMs === null ? {} : { retryAfterSeconds: refusal.retryAfterMs / 1000 }),
      },
    )
  }
  if (refusal.code === 'flow_over' || refusal.code === 'flow_budget_exhausted') {
    return new ApiError('invalid_request', 'the flow of this job takes no more jobs')
  }
  if (refusal.code === 'unpriced') {
    return new ApiError(
      'invalid_request',
      `body.model: ${job.lane} has no price, so that no budget can hold for it (budgets.unknown_price: refuse); give it a price`,
      { param: 'body.model' },
    )
  }
  if (refusal.code === 'budget_exhausted' && refusal.shortage !== undefined) {
    const { endsAt } = refusal.shortage
    return new ApiError('budget_exhausted', describeShortage(refusal.shortage), {
      retryAfterSeconds: endsAt === null ? null : (refusal.retryAfterMs ?? 0) / 1000,
    })
  }
  if (refusal.code === 'memory_short') return memoryShort((refusal.retryAfterMs ?? 0) / 1000)
  return new ApiError(
    refusal.code,
    refusals[refusal.code],
    refusal.retryAfterMs === null ? {} : { retryAfterSeconds: refusal.retryAfterMs / 1000 },
  )
}
