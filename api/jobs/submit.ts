import type { Lane } from '../../config/lanes.ts'
import type { Tenant } from '../../config/tenants.ts'
import { toWindows } from '../../jobs/budgets.ts'
import { fairKeyOfBody } from '../../jobs/fair-key.ts'
import type { CacheMode } from '../../jobs/job.ts'
import type { JobCost } from '../../jobs/job-cost.ts'
import { estimateMoney } from '../../jobs/money.ts'
import type { NewJob } from '../../jobs/new-job.ts'
import { findUnshared } from '../../jobs/shareable.ts'
import type { JsonObject } from '../../lib/json.ts'
import { judgeFit } from '../../providers/fit.ts'
import { readServiceTier } from '../../providers/service-tier.ts'
import type { ApiDeps } from '../deps.ts'
import { ApiError } from '../errors.ts'
import { refuseUncheckedConversation } from '../openai/own-state.ts'
import { chooseTier, timeoutFor } from './choose-tier.ts'
import type { CreateJob } from './create-schema.ts'
import { requirePermitted, resolvePermitted } from './permitted-models.ts'
import { planWay } from './plan-way.ts'
import { refuseOversize } from './refuse-oversize.ts'

export type SubmitDeps = Pick<ApiDeps, 'submission' | 'now'>

/**
 * Decides everything about a validated create object that needs the configuration: lane, defaults, times and cost. Throws
 * `model_not_found`, `deadline_unreachable`, `exceeds_limit` or `invalid_request`.
 *
 * @param isAwaited a client waits on its connection for the answer
 */
export function toNewJob(
  tenant: Tenant,
  create: CreateJob,
  idempotencyKey: string | null,
  deps: SubmitDeps,
  isAwaited = false,
): NewJob {
  const { model } = create.body
  const { lanes, refused: refusedLanes } = resolvePermitted(tenant, model, deps)
  if (lanes.length === 0) requirePermitted(tenant, model, deps)
  const body = create.body as JsonObject
  refuseUncheckedConversation(create.type, body, deps.submission.hasTenants())
  const { lane, ...fits } = chooseLane(lanes, create.type, body)
  const fairKey = decideFairKey(create, body)
  const limits = findLimits(tenant, fairKey.fairKey !== undefined, deps.now())
  const isBudgeted = limits.budgetUsdPerDay !== null || limits.budgets !== undefined || create.group != null
  const refusesUnpriced = tenant.budgetRules.unknownPrice === 'refuse'
  const unpriced = refusesUnpriced && isBudgeted ? lanes.filter(({ price }) => price === null) : []
  const unfit = [...unpriced.map(({ id }) => id).filter((id) => id !== lane.id), ...refusedLanes]
  const unfitLanes = [...new Set([...(fits.unfitLanes ?? []), ...unfit])]
  const tier = chooseTier(lane, create, isAwaited)
  const serviceTier = tier === 'standard' ? readServiceTier(body) : null
  const cost: JobCost = {
    ...deps.submission.estimateCost(lane, create.type, body),
    ...(tier === 'standard' ? {} : { tier }),
    ...(serviceTier === null ? {} : { serviceTier }),
  }
  refuseOversize(lane, cost)
  const times = decideTimes(create, deps.now())
  const timeoutMs = create.timeout_ms ?? timeoutFor(lane, tier)
  const question = { type: create.type, body, cost, ...times, timeoutMs, askedTimeoutMs: create.timeout_ms }
  const way = planWay(question, lane, tier, deps.now(), deps.submission.batchTurnaround(lane.id))
  return {
    tenant: tenant.name,
    type: create.type,
    model,
    lane: lane.id,
    ...fits,
    ...(unfitLanes.length > 0 ? { unfitLanes } : {}),
    body,
    priority: create.priority ?? 'normal',
    ...times,
    timeoutMs,
    maxAttempts: create.max_attempts ?? lane.retry.max_attempts,
    cache: decideCache(tenant, lanes, create),
    askedCache: create.cache ?? 'use',
    webhook: decideWebhook(create.webhook, deps),
    group: create.group ?? null,
    ...fairKey,
    metadata: create.metadata ?? {},
    idempotencyKey,
    ...(lane.maxLanes === undefined ? {} : { maxLanes: lane.maxLanes }),
    ...way,
    ...estimateMoney(lane, cost),
    limits: refusesUnpriced && lane.price === null ? { ...limits, refusesUnpriced } : limits,
  }
}

/** The limits of a job of the tenant, and the windows of the budgets that it counts towards. */
function findLimits(tenant: Tenant, hasFairKey: boolean, now: number): NewJob['limits'] {
  const { limits, payers = [], perFairKey, fairKeyBudgets = [], budgetRules } = tenant
  const windows = [
    ...toWindows({ owner: 'tenant', name: null }, limits.budgets ?? [], now),
    ...payers.flatMap(({ key, budgets }) => toWindows({ owner: 'key', name: key }, budgets, now)),
    ...toWindows({ owner: 'fair_key', name: null }, hasFairKey ? fairKeyBudgets : [], now),
  ]
  return {
    maxQueued: limits.max_queued,
    requestsPerMinute: limits.requests_per_minute ?? null,
    budgetUsdPerDay: limits.budget_usd_per_day ?? null,
    ...(windows.length === 0 ? {} : { budgets: windows }),
    ...(perFairKey === undefined ? {} : { perFairKey }),
    ...(budgetRules.operationsUrl === null ? {} : { operationsUrl: budgetRules.operationsUrl }),
  }
}

/**
 * Chooses the first lane of a route whose provider can serve the request. Also returns the lanes that cannot, and the members that each
 * leaves out. If none can, throws the error of the first: `unsupported_type`, or `invalid_request` with the member's name.
 */
function chooseLane(
  lanes: Lane[],
  type: CreateJob['type'],
  body: JsonObject,
): { lane: Lane } & Pick<NewJob, 'unfitLanes' | 'dropped'> {
  const judged = lanes.map((lane) => ({ lane, fit: judgeFit(lane, type, body) }))
  const chosen = judged.find(({ fit }) => fit.kind === 'serves')
  if (chosen === undefined) {
    const { fit } = judged[0]!
    if (fit.kind === 'unsupported_type')
      throw new ApiError('unsupported_type', fit.message, { param: 'body.model' })
    if (fit.kind === 'unsupported_member') {
      throw new ApiError('invalid_request', fit.message, { param: `body.${fit.param}` })
    }
  }
  const unfitLanes = judged.filter(({ fit }) => fit.kind !== 'serves').map(({ lane }) => lane.id)
  const dropped = judged.flatMap(({ lane, fit }) =>
    fit.kind === 'serves' && fit.dropped.length > 0 ? [[lane.id, fit.dropped] as const] : [],
  )
  return {
    lane: chosen!.lane,
    ...(unfitLanes.length > 0 ? { unfitLanes } : {}),
    ...(dropped.length > 0 ? { dropped: Object.fromEntries(dropped) } : {}),
  }
}

/** Redis' clock decides when its time has come and when a delay begins. */
function decideTimes(create: CreateJob, now: number): Pick<NewJob, 'runAt' | 'delayMs' | 'deadline'> {
  const delay = create.delay_ms ?? 0
  if (delay > 0 && create.run_at) {
    throw new ApiError('invalid_request', 'run_at: give either run_at or delay_ms, not both', {
      param: 'run_at',
    })
  }
  const runAt = create.run_at ? Date.parse(create.run_at) : null
  const deadline = create.deadline ? Date.parse(create.deadline) : null
  if (deadline !== null && deadline <= Math.max(now, runAt ?? now + delay)) {
    const what = deadline <= now ? 'is in the past' : 'is before the job may start'
    throw new ApiError('deadline_unreachable', `deadline: ${what}`, { param: 'deadline' })
  }
  return { runAt, ...(delay > 0 ? { delayMs: delay } : {}), deadline }
}

/** The job's own fair key, or else the end user that the body names; null asks for none. */
function decideFairKey({ fair_key }: CreateJob, body: JsonObject): Pick<NewJob, 'fairKey'> {
  const fairKey = fair_key === undefined ? fairKeyOfBody(body) : (fair_key ?? undefined)
  return fairKey === undefined ? {} : { fairKey }
}

/** The requested cache mode, where equal jobs may share one answer. */
function decideCache(tenant: Tenant, lanes: readonly Lane[], create: CreateJob): CacheMode {
  if (tenant.cache === 'off' || lanes.some(({ cache }) => cache === 'off')) return 'off'
  const models = lanes.map(({ model }) => model)
  return findUnshared(create.type, create.body as JsonObject, models) === null
    ? (create.cache ?? 'use')
    : 'off'
}

function decideWebhook(webhook: CreateJob['webhook'], deps: SubmitDeps): NewJob['webhook'] {
  if (!webhook) return null
  const checked = deps.submission.checkWebhookUrl(webhook.url)
  if (!checked.ok) {
    throw new ApiError('invalid_request', `webhook.url: ${checked.reason}`, { param: 'webhook.url' })
  }
  const events = webhook.events ?? (['job.completed', 'job.failed', 'job.cancelled'] as const)
  return { url: webhook.url, events: [...new Set(events)] }
}
