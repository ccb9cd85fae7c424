import type { AtRest } from './at-rest.ts'
import { encodeBudgets, readShortage, toWindows } from './budgets.ts'
import { contentHash, hashCanonical } from './content-hash.ts'
import { type DirectMessage, directToken } from './direct-dispatch.ts'
import { digestFairKey, encodeFairKeyLimits, fairKeyOfBody } from './fair-key.ts'
import { encodeGatherPlan } from './gather-plan.ts'
import type { GroupBudgets } from './group-budgets.ts'
import type { JobType } from './job.ts'
import type { JobCost } from './job-cost.ts'
import { encodeJobFlow } from './job-flow.ts'
import type { Refusal } from './jobs.ts'
import { encodeEstimate } from './money.ts'
import type { NewJob } from './new-job.ts'
import type { DirectWorker } from './open-lanes.ts'
import { formatOf, splitPresentation } from './presentation.ts'
import { digestPrefix } from './prompt-prefixes.ts'
import type { QueueEntry } from './queue-entry.ts'
import type { JobRecord } from './record.ts'
import type { Argument } from './scripts.ts'

/** How long an idempotency key is remembered. */
const IDEMPOTENCY_TTL_MS = 24 * 60 * 60 * 1000

/** A job for the create script. */
export type PreparedJob = {
  job: NewJob
  /** The job as it was handed in. */
  asked: NewJob
  id: string
  /** The stored form of its content hash. */
  hash: string
  record: Map<string, string | Buffer>
  args: (string | number | Buffer)[]
  /** Null: it goes through its lane's queue. */
  direct: DirectPlan | null
}

/** How a job goes straight to a worker. `start`: with its call started; null: the worker starts it. */
export type DirectPlan = { worker: DirectWorker; start: StartPlan | null }

/** What the script that creates a job needs to start its call for a worker. */
export type StartPlan = {
  /** See `Queues.waitingKeys`. */
  waiting: readonly string[]
  /** The gate's keys and arguments for the lane, and what the call takes from it. */
  keys: readonly string[]
  args: readonly Argument[]
  amounts: readonly number[]
  tenant: string
  source: string
  tier: string
  /** As `encodeIntent` of claim.ts writes it. */
  intent: string
  /** How long the job's place holds it, ms. */
  leaseMs: number
}

/** A job handed to the create script, and what that answered. */
export type Submitted = PreparedJob & {
  /** `parked`: as `created`, but it waits for a turn of its fair key and needs no queue entry yet. */
  kind: 'created' | 'parked' | 'shared' | 'hit' | 'replayed' | 'conflict' | Refusal['code']
  rest: unknown[]
}

/** True for a job that asks for a time, even one in the past. */
export function isForLater({ runAt, delayMs = 0 }: Pick<NewJob, 'runAt' | 'delayMs'>): boolean {
  return runAt !== null || delayMs > 0
}

/** From when on a job that was created then may run, Unix ms; null: at once. `create.lua` decides the same. */
function startOf({ runAt, delayMs = 0 }: NewJob, createdAt: number): number | null {
  const at = runAt ?? createdAt + delayMs
  return at > createdAt ? at : null
}

/** As stored: for missing members see `JobCost`. */
function withoutDefaults({ choices, ...cost }: JobCost): JobCost {
  return choices === undefined || choices === 1 ? cost : { ...cost, choices }
}

/**
 * The queue entry of a job.
 *
 * @param createdAt Unix ms, as the create script answered
 */
export function entryOf({ job, id }: Pick<Submitted, 'job' | 'id'>, createdAt: number): QueueEntry {
  return {
    tenant: job.tenant,
    id,
    entry: 1,
    lane: job.lane,
    priority: job.priority,
    notBefore: startOf(job, createdAt),
    cost: withoutDefaults(job.cost),
    ...(job.gather === undefined ? {} : { gather: job.gather }),
  }
}

/**
 * @param root of the tenant
 * @param replyTo channel for the end of the job
 * @param direct how it goes straight to a worker; null: it goes through its lane's queue
 * @param isBrief the answer has only the state of a known or answered job, without its record or its result
 * @param groupBudgets of its group, as far as this process knows; null: none
 * @param now Unix ms
 */
export function prepare(
  atRest: AtRest,
  root: string,
  asked: NewJob,
  id: string,
  retainMs: number,
  replyTo: string | null,
  direct: DirectPlan | null,
  isBrief: boolean,
  groupBudgets: GroupBudgets | null,
  now: number,
) {
  const { fairKey } = asked
  const { prefix } = asked.cost
  const cost: JobCost = {
    ...asked.cost,
    ...(fairKey === undefined ? {} : { fairKey: digestFairKey(root, fairKey, atRest) }),
    ...(prefix === undefined ? {} : { prefix: digestPrefix(prefix, atRest) }),
  }
  const job: NewJob = { ...asked, cost }
  const plainHash = contentHash(job.type, job.model, job.body, job.inputs)
  const [hash] = atRest.digests(plainHash)
  const record = new Map<string, string | Buffer>([
    ['type', job.type],
    ['model', job.model],
    ['lane', job.lane],
    ['body', atRest.sealBody(root, id, job.body)],
    ['priority', job.priority],
    ['max_attempts', String(job.maxAttempts)],
    ['timeout_ms', String(job.timeoutMs)],
    ['cost', JSON.stringify(withoutDefaults(job.cost))],
  ])
  if (job.cost.tier !== undefined) record.set('tier', job.cost.tier)
  const format = formatOf(job.type, job.body)
  if (format !== null) record.set('format', format)
  if (job.isShownLive) record.set('live', '1')
  if (replyTo !== null) record.set('reply', replyTo)
  if (job.previousResponseId !== undefined) record.set('previous_response_id', job.previousResponseId)
  if (job.unfitLanes?.length) record.set('unfit_lanes', job.unfitLanes.join(' '))
  if (Object.keys(job.dropped ?? {}).length > 0) record.set('dropped', JSON.stringify(job.dropped))
  if (job.requestId !== undefined) record.set('request_id', job.requestId)
  if (job.trace !== undefined) record.set('trace', job.trace)
  if (job.durable !== undefined) {
    const { run, step, id: runId } = job.durable
    // As jobs/lua/forget.lua reads it.
    record.set('durable', `${run}\n${step}\n${runId}`)
  }
  if (job.gather !== undefined) record.set('gather', encodeGatherPlan(job.gather))
  const flex = encodePatience(job.cost)
  if (flex !== null) record.set('flex', flex)
  if (job.files?.length) record.set('files', job.files.join(' '))
  if (job.flow !== undefined) record.set('flow', encodeJobFlow(job.flow))
  if (job.deadline !== null) record.set('deadline', String(job.deadline))
  if (job.group !== null) record.set('group', job.group)
  if (job.webhook !== null) record.set('webhook', JSON.stringify(job.webhook))
  if (job.fairKey !== undefined) record.set('fair_key', atRest.sealFairKey(root, id, job.fairKey))
  if (Object.keys(job.metadata).length > 0) record.set('metadata', JSON.stringify(job.metadata))
  const args = [
    id,
    hash,
    job.cache,
    job.idempotencyKey ?? '',
    job.idempotencyKey === null
      ? ''
      : (job.fingerprint ?? atRest.digests(fingerprint(job, plainHash)).join(' ')),
    IDEMPOTENCY_TTL_MS,
    encodeMostOpen(job),
    retainMs,
    job.runAt ?? (job.delayMs ? `+${job.delayMs}` : ''),
    job.group ?? '',
    job.deadline ?? '',
    job.limits.requestsPerMinute ?? '',
    encodeBudgets(job.limits.budgetUsdPerDay, job.limits.operationsUrl ?? null, [
      ...ownBudgets(job),
      ...toWindows('group', job.group, groupBudgets?.budgets ?? [], now),
    ]),
    job.limits.refusesUnpriced ? 'unpriced' : encodeEstimate(job.lane, job),
    job.earliestStart == null ? '' : Math.round(job.earliestStart),
    direct?.worker.channel ?? '',
    direct === null ? '' : encodeDirect({ job, id }, hash, direct),
    isBrief ? '1' : '',
    groupBudgets?.version ?? '',
    direct?.start ? encodeStart(direct.worker, direct.start) : '',
    ...[...record].flat(),
  ]
  return { job, asked, id, hash, record, args, direct }
}

/** The message for the worker that the job goes to. */
function encodeDirect(
  { job, id }: Pick<Submitted, 'job' | 'id'>,
  hash: string,
  { start }: DirectPlan,
): string {
  const entry: DirectMessage = entryOf({ job, id }, 0)
  if (start !== null) {
    entry.call = {
      type: job.type,
      model: job.model,
      maxAttempts: job.maxAttempts,
      timeoutMs: job.timeoutMs,
      unfitLanes: job.unfitLanes ?? [],
      hash,
      cacheMode: job.cache,
      isShownLive: job.isShownLive === true,
      requestId: job.requestId ?? null,
      trace: job.trace ?? null,
    }
  }
  return JSON.stringify(entry)
}

/** As lua/start-here.lua reads it. */
function encodeStart({ name }: DirectWorker, start: StartPlan): string {
  const { leaseMs, amounts, tenant, source, tier, intent } = start
  return [directToken(name), leaseMs, ...amounts, tenant, source, tier, intent].join('\n')
}

/** Until when a job that goes at flex may wait there, as `patience_of` in jobs/lua/common.lua reads it; null: it does not go at flex. */
function encodePatience({ flex }: JobCost): string | null {
  if (flex === undefined) return null
  return flex.until === null ? `+${flex.fallBackAfter}` : String(Math.round(flex.until))
}

/** As create.lua reads it. */
function encodeMostOpen({ limits, cost }: NewJob): string {
  const { maxQueued, perFairKey } = limits
  if (perFairKey === undefined || cost.fairKey === undefined) return String(maxQueued)
  return `${maxQueued} ${cost.fairKey} ${perFairKey.maxQueued ?? '-'} ${encodeFairKeyLimits(perFairKey)}`
}

/** With the digest of the fair key, of which the job's cost has it by now. */
function ownBudgets({ limits, cost }: NewJob) {
  return (limits.budgets ?? []).map((window) =>
    window.owner === 'fair_key' ? { ...window, name: cost.fairKey ?? null } : window,
  )
}

/** Equal for two requests with one idempotency key that are the same request. */
function fingerprint(job: NewJob, hash: string): string {
  const { priority, cache, group, metadata, maxAttempts, timeoutMs } = job
  const webhook = job.webhook && { url: job.webhook.url, events: job.webhook.events }
  const isAsked = job.fairKey !== undefined && job.fairKey !== fairKeyOfBody(job.body)
  return hashCanonical({
    hash,
    ...(isAsked ? { fairKey: job.fairKey } : {}),
    presentation: splitPresentation(job.type, job.body).presentation,
    priority,
    ...(job.cost.tier === undefined ? {} : { tier: job.cost.tier }),
    cache: job.askedCache ?? cache,
    group,
    metadata,
    maxAttempts,
    timeoutMs,
    webhook,
    // Without the time: a repeated request may name another time, or come after it.
    scheduled: isForLater(job),
  })
}

/** The record as the create script left it, built from the script's arguments and its answer. */
export function completeRecord(
  { record: sent, hash, job }: Pick<Submitted, 'record' | 'hash' | 'job'>,
  kind: 'created' | 'parked' | 'shared' | 'hit',
  rest: Buffer[],
): JobRecord {
  // After the time: of a hit what it is, of a created one how many workers heard of it, and whether it was started.
  const [at, answer, usage, text] = rest
  const record: JobRecord = new Map(sent)
  const put = (name: string, value: string) => record.set(name, value)
  const time = at!.toString()
  const startAt = startOf(job, Number(time))
  if (startAt !== null) put('run_at', String(startAt))
  put('created_at', time)
  put('hash', hash)
  put('status', kind === 'hit' ? 'completed' : startAt !== null ? 'scheduled' : 'queued')
  put('cache', kind === 'hit' ? 'hit' : kind === 'shared' ? 'shared' : job.cache === 'off' ? 'off' : 'miss')
  if (kind === 'parked') put('waiting_for', 'fair_key')
  if (kind === 'created' && isStarted(rest)) {
    put('status', 'running')
    put('started_at', time)
    put('attempts', '1')
  }
  if (kind === 'hit') {
    put('finished_at', time)
    put('cost_usd', '0')
    if (answer) record.set('answer', answer)
    if (usage) record.set('usage', usage)
    if (text?.length) record.set('result', text)
  }
  return record
}

/** Whether the script that created the job has started it, by what it answered. */
function isStarted([, , started]: readonly Buffer[]): boolean {
  return started !== undefined && started.length > 0
}

/** Outcome of a submission, for metrics: where the answer comes from, or why the job was refused. */
export type SubmissionEvent = { tenant: string; type: JobType; outcome: string; isRefused: boolean }

export function toSubmissionEvent({ job, kind }: Pick<Submitted, 'job' | 'kind'>): SubmissionEvent {
  const { tenant, type, cache } = job
  if (isRefused(kind)) return { tenant, type, outcome: kind, isRefused: true }
  if (kind === 'conflict') return { tenant, type, outcome: 'idempotency_key_reused', isRefused: true }
  const outcome = kind !== 'created' && kind !== 'parked' ? kind : cache === 'off' ? 'off' : 'miss'
  return { tenant, type, outcome, isRefused: false }
}

/** Answers of the create script that refuse the job. */
const REFUSALS: Record<Refusal['code'], true> = {
  queue_full: true,
  fair_key_full: true,
  lanes_full: true,
  rate_limited: true,
  budget_exhausted: true,
  deadline_unreachable: true,
  memory_short: true,
  flow_over: true,
  flow_budget_exhausted: true,
  unpriced: true,
}

export function isRefused(kind: Submitted['kind']): kind is Refusal['code'] {
  return kind in REFUSALS
}

export function toRefusal(code: Refusal['code'], rest: unknown[]): Refusal {
  const [after = '', ...more] = rest.map(String)
  const retryAfterMs = after === '' ? null : Number(after)
  const isOfBudget = code === 'budget_exhausted' || code === 'flow_budget_exhausted'
  const shortage = isOfBudget ? readShortage(more) : null
  return { kind: 'refused', code, retryAfterMs, ...(shortage === null ? {} : { shortage }) }
}
