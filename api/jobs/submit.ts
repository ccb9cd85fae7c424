import { type Lane, type LaneLimits, listBounds } from '../../config/lanes.ts'
import { permittedLanes } from '../../config/model-access.ts'
import type { Tenant } from '../../config/tenants.ts'
import { type BudgetShortage, describeBudget, toShortUsd, toWindows } from '../../jobs/budgets.ts'
import { fairKeyOfBody } from '../../jobs/fair-key.ts'
import type { CacheMode, Job, JobType } from '../../jobs/job.ts'
import type { JobCost, NewJob, Refusal } from '../../jobs/jobs.ts'
import { estimateMoney } from '../../jobs/money.ts'
import { findUnshared } from '../../jobs/shareable.ts'
import { fileIdOf } from '../../lib/input-files.ts'
import type { JsonObject } from '../../lib/json.ts'
import { judgeFit } from '../../providers/fit.ts'
import type { ApiDeps } from '../deps.ts'
import { ApiError } from '../errors.ts'
import type { IdempotencyPolicy } from '../idempotency-key.ts'
import { modelNotFound } from '../openai/missing-model.ts'
import { refuseUncheckedConversation } from '../openai/own-state.ts'
import { chooseTier, timeoutFor } from './choose-tier.ts'
import type { CreateJob } from './create-schema.ts'
import { planWay } from './plan-way.ts'

export type SubmitDeps = Pick<
  ApiDeps,
  | 'resolveModel'
  | 'listModels'
  | 'estimateCost'
  | 'checkWebhookUrl'
  | 'batchTurnaround'
  | 'hasTenants'
  | 'now'
>

/**
 * Decides everything about a validated create object that needs the configuration: its lane, defaults, times and cost.
 * Throws `model_not_found`, `deadline_unreachable`, `exceeds_limit` or `invalid_request`.
 *
 * @param isAwaited a client holds its connection for the answer
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
  refuseUncheckedConversation(create.type, body, deps.hasTenants())
  const { lane, ...fits } = chooseLane(lanes, create.type, body)
  const fairKey = decideFairKey(create, body)
  const limits = findLimits(tenant, fairKey.fairKey !== undefined, deps.now())
  const isBudgeted = limits.budgetUsdPerDay !== null || limits.budgets !== undefined || create.group != null
  const refusesUnpriced = tenant.budgetRules.unknownPrice === 'refuse'
  const unpriced = refusesUnpriced && isBudgeted ? lanes.filter(({ price }) => price === null) : []
  const unfit = [...unpriced.map(({ id }) => id).filter((id) => id !== lane.id), ...refusedLanes]
  const unfitLanes = [...new Set([...(fits.unfitLanes ?? []), ...unfit])]
  const tier = chooseTier(lane, create, isAwaited)
  const cost: JobCost = {
    ...deps.estimateCost(lane, create.type, body),
    ...(tier === 'standard' ? {} : { tier }),
  }
  refuseOversize(lane, cost)
  const times = decideTimes(create, deps.now())
  const timeoutMs = create.timeout_ms ?? timeoutFor(lane, tier)
  const question = { type: create.type, body, cost, ...times, timeoutMs, askedTimeoutMs: create.timeout_ms }
  const way = planWay(question, lane, tier, deps.now(), deps.batchTurnaround(lane.id))
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

/** What a job of the tenant is held to: its limits, and the windows of the budgets that it counts against. */
function findLimits(tenant: Tenant, hasFairKey: boolean, now: number): NewJob['limits'] {
  const { limits, payers = [], perFairKey, fairKeyBudgets = [], budgetRules } = tenant
  const windows = [
    ...toWindows('tenant', null, limits.budgets ?? [], now),
    ...payers.flatMap(({ key, budgets }) => toWindows('key', key, budgets, now)),
    ...toWindows('fair_key', null, hasFairKey ? fairKeyBudgets : [], now),
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

/** The lanes that a model leads to, and of them those that the tenant or its key may not use. */
export function resolvePermitted(
  tenant: Pick<Tenant, 'models'>,
  model: string,
  deps: Pick<SubmitDeps, 'resolveModel'>,
): { lanes: Lane[]; refused: string[] } {
  const all = deps.resolveModel(model)?.lanes ?? []
  const lanes = permittedLanes(tenant.models, model, all)
  return { lanes, refused: all.filter((lane) => !lanes.includes(lane)).map(({ id }) => id) }
}

/** Throws `model_not_found` where the tenant or its key may not call a model. */
export function requirePermitted(
  tenant: Pick<Tenant, 'models'>,
  model: string,
  deps: Pick<SubmitDeps, 'resolveModel' | 'listModels'>,
): void {
  if (resolvePermitted(tenant, model, deps).lanes.length > 0) return
  throw modelNotFound(model, listPermitted(tenant, deps), 'body.model')
}

/** Names of models that may be told: those that the tenant and its key may call. */
export function listPermitted(
  tenant: Pick<Tenant, 'models'>,
  deps: Pick<SubmitDeps, 'resolveModel' | 'listModels'>,
): string[] {
  if (tenant.models === undefined) return deps.listModels()
  return deps.listModels().filter((name) => resolvePermitted(tenant, name, deps).lanes.length > 0)
}

/**
 * The first lane of a route whose provider can serve the request, which others cannot, and what each leaves out. Throws
 * what the first one says where none can: `unsupported_type`, or `invalid_request` with the member's name.
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

/**
 * Notes when a call for a job with a deadline would leave at the earliest. The store refuses the job where that is
 * too late, unless it needs no call: a replay, a kept answer, an equal job under way.
 */
export async function noteEarliestStart(
  job: NewJob,
  deps: Pick<ApiDeps, 'forecast' | 'now'>,
): Promise<NewJob> {
  if (job.deadline === null) return job
  // The forecast is for the end of the tenant's queue, and a fair key may have its turn long before.
  const forecast = job.fairKey === undefined ? await deps.forecast(job.lane, job.tenant, job.priority) : null
  const cost = forecast === null ? job.cost : leaveFlexEarlier(job.cost, forecast - deps.now())
  return { ...job, cost, earliestStart: Math.max(forecast ?? 0, job.runAt ?? 0) }
}

/** What a call at standard waits for its turn is time that a job cannot spend at flex. */
function leaveFlexEarlier(cost: JobCost, waitMs: number): JobCost {
  const { flex } = cost
  if (flex === undefined || flex.until === null || waitMs <= 0) return cost
  return { ...cost, flex: { ...flex, until: flex.until - waitMs } }
}

/**
 * Submits a job. Throws the reason for refusing it: `deadline_unreachable`, `idempotency_key_reused`, `queue_full`,
 * `rate_limited`, `budget_exhausted`.
 */
async function acceptJob(newJob: NewJob, deps: AcceptDeps): Promise<{ job: Job; isReplayed: boolean }> {
  const job = await noteEarliestStart(newJob, deps)
  let outcome = await deps.jobs.create(job)
  if (outcome.kind === 'created' && (await hasLostFiles(outcome.job, job.tenant, deps))) {
    // With the job goes the kept answer, so that this one gets a new one.
    await deps.jobs.remove(job.tenant, outcome.job.id)
    outcome = await deps.jobs.create(job)
  }
  if (outcome.kind === 'conflict') throw keyReused()
  if (outcome.kind === 'refused') {
    const retryAfterMs = outcome.retryAfterMs ?? (await estimateRoom(job, outcome.code, deps))
    throw refused({ ...outcome, retryAfterMs }, job)
  }
  return { job: outcome.job, isReplayed: outcome.kind === 'replayed' }
}

export type AcceptDeps = Pick<ApiDeps, 'jobs' | 'files' | 'forecast' | 'now'>

/** Whether a kept answer names a file that its owner has deleted. */
async function hasLostFiles(job: Job, tenant: string, { files }: AcceptDeps): Promise<boolean> {
  if (job.cache !== 'hit' || !HAVE_FILES.has(job.type)) return false
  const data = job.result?.data
  const ids = (Array.isArray(data) ? data : []).map(fileIdOf).filter((id) => id !== null)
  const found = await Promise.all(ids.map((id) => files.get(tenant, id)))
  return found.includes(null)
}

/** Types of jobs whose results name files. */
const HAVE_FILES: ReadonlySet<JobType> = new Set(['image', 'image_edit', 'speech'])

/**
 * `acceptJob`, and what `Idempotency-Key-Policy` asks for: with `retry-failed` a replayed job that failed or was cancelled
 * is queued again. Both answer the same job.
 */
export async function acceptOrRetry(
  newJob: NewJob,
  policy: IdempotencyPolicy,
  deps: AcceptDeps,
): Promise<{ job: Job; isReplayed: boolean; isRetried: boolean }> {
  const accepted = await acceptJob(newJob, deps)
  const { job, isReplayed } = accepted
  if (!isReplayed || policy !== 'retry-failed' || !isRetryable(job.status))
    return { ...accepted, isRetried: false }
  const retried = await deps.jobs.retry(newJob.tenant, job.id)
  return { job: retried?.job ?? job, isReplayed, isRetried: retried?.kind === 'retried' }
}

/** Whether a job ended without a result, and may be queued again. */
export function isRetryable(status: Job['status']): boolean {
  return status === 'failed' || status === 'cancelled'
}

/** Tells a client that its key, not a new call, brought this end about: asking again with the key brings it again. */
export function replayHeaders(job: Job): Record<string, string> {
  return {
    'idempotent-replayed': 'true',
    ...(isRetryable(job.status) ? { 'x-should-retry': 'false' } : {}),
  }
}

/**
 * Ms after which one more job fits into a full queue: the open jobs of the tenant, or of the fair key, leave one by one until the last of
 * them is served. Null while the lane's speed is not known.
 */
async function estimateRoom(
  job: NewJob,
  code: Refusal['code'],
  deps: Pick<ApiDeps, 'forecast' | 'now'>,
): Promise<number | null> {
  const { maxQueued, perFairKey } = job.limits
  if (code === 'fair_key_full') {
    // Its calls begin at this pace at the fastest.
    if (perFairKey?.requestsPerMinute != null) return 60_000 / perFairKey.requestsPerMinute
    return null
  }
  const forecast = await deps.forecast(job.lane, job.tenant, job.priority)
  return forecast === null ? null : Math.max(0, forecast - deps.now()) / maxQueued
}

/** Redis decides whether its time has come, and what a delay begins at. */
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

/** As asked, else the end user whom the body names; null asks for none. */
function decideFairKey({ fair_key }: CreateJob, body: JsonObject): Pick<NewJob, 'fairKey'> {
  const fairKey = fair_key === undefined ? fairKeyOfBody(body) : (fair_key ?? undefined)
  return fairKey === undefined ? {} : { fairKey }
}

/** What was asked, where one answer for equal jobs is allowed, and makes sense. */
function decideCache(tenant: Tenant, lanes: readonly Lane[], create: CreateJob): CacheMode {
  if (tenant.cache === 'off' || lanes.some(({ cache }) => cache === 'off')) return 'off'
  return findUnshared(create.type, create.body as JsonObject) === null ? (create.cache ?? 'use') : 'off'
}

function decideWebhook(webhook: CreateJob['webhook'], deps: SubmitDeps): NewJob['webhook'] {
  if (!webhook) return null
  const checked = deps.checkWebhookUrl(webhook.url)
  if (!checked.ok) {
    throw new ApiError('invalid_request', `webhook.url: ${checked.reason}`, { param: 'webhook.url' })
  }
  const events = webhook.events ?? (['job.completed', 'job.failed', 'job.cancelled'] as const)
  return { url: webhook.url, events: [...new Set(events)] }
}

/** A request that is larger than its lane, or a shared limit, admits in a whole window would wait for ever. */
function refuseOversize(lane: Lane, cost: JobCost): void {
  const { anyOf, allOf } = listBounds(lane)
  if (!anyOf.some((limits) => findExcess(limits, cost) === null)) refuseAbove(lane.id, widest(anyOf), cost)
  for (const { name, limits } of allOf)
    refuseAbove(`the shared limit ${name} of ${lane.provider}`, limits, cost)
}

/** Of several sources the one that admits most at once, to tell how much that is. */
function widest(all: readonly LaneLimits[]): LaneLimits {
  const tokensOf = ({ tokens_per_minute, input_tokens_per_minute, window }: LaneLimits) =>
    ((tokens_per_minute ?? input_tokens_per_minute ?? 0) * window) / 60_000
  return all.reduce((best, one) => (tokensOf(one) > tokensOf(best) ? one : best))
}

function refuseAbove(whose: string, limits: LaneLimits, cost: JobCost): void {
  const excess = findExcess(limits, cost)
  if (excess === null) return
  throw new ApiError(
    'exceeds_limit',
    `body: needs about ${excess.needed} ${excess.name}, and ${whose} admits ${excess.capacity} in ${limits.window / 1000} s`,
    { param: 'body' },
  )
}

/** What of a cost never fits into a window; null: all of it does. */
function findExcess(
  limits: LaneLimits,
  cost: JobCost,
): { name: string; needed: number; capacity: number } | null {
  const windowsPerMinute = 60_000 / limits.window
  const checks = [
    ['tokens', cost.tokens, limits.tokens_per_minute],
    ['input tokens', cost.inputTokens, limits.input_tokens_per_minute],
    ['output tokens', cost.outputTokens, limits.output_tokens_per_minute],
    ['images', cost.images ?? 0, limits.images_per_minute],
    ['seconds of sound', cost.audioSeconds ?? 0, limits.audio_seconds_per_minute],
  ] as const
  for (const [name, needed, perMinute] of checks) {
    if (perMinute === undefined || needed <= perMinute / windowsPerMinute) continue
    return { name, needed, capacity: Math.floor(perMinute / windowsPerMinute) }
  }
  return null
}

/** The same idempotency key came with another payload. */
export function keyReused(): ApiError {
  return new ApiError('idempotency_key_reused', 'Idempotency-Key: was used before with another payload', {
    param: 'Idempotency-Key',
  })
}

/** For uploads, which would take the memory before a job is refused. */
export async function refuseWithoutMemory(deps: Pick<ApiDeps, 'isMemoryShort'>): Promise<void> {
  if (await deps.isMemoryShort()) throw memoryShort(5)
}

function memoryShort(retryAfterSeconds: number): ApiError {
  return new ApiError(
    'unavailable',
    'the memory of the store is almost full; work that was accepted goes on, new work is taken when there is room',
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
  queue_full: 'as many jobs are waiting as this tenant may have; wait for some to finish',
  rate_limited: 'the tenant submits faster than limits.requests_per_minute allows',
  budget_exhausted: 'what was spent and what waiting jobs may cost would come to more than a budget has',
}

/** Which budget has no room for a job, and when it opens again. */
function describeShortage(shortage: BudgetShortage): string {
  const { spentUsd, reservedUsd, neededUsd, endsAt } = shortage
  const [spent, reserved, needed] = [spentUsd, reservedUsd, neededUsd].map(toShortUsd)
  const opens = endsAt === null ? '' : `; its next window begins at ${new Date(endsAt).toISOString()}`
  return (
    `${describeBudget(shortage)}, has no room: ${spent} USD are spent, ${reserved} are reserved for open jobs, ` +
    `and this job may cost ${needed}${opens}`
  )
}

/** The store did not let the job in. */
export function refused(
  refusal: Refusal,
  job: Pick<NewJob, 'earliestStart' | 'lane' | 'maxLanes' | 'fairKey' | 'limits'>,
): ApiError {
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
