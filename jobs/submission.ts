import type { AtRest } from './at-rest.ts'
import { type BudgetWindow, toWindows } from './budgets.ts'
import { contentHash, hashCanonical } from './content-hash.ts'
import { encodeCreate } from './create-script.ts'
import type { DirectPlan } from './direct-plan.ts'
import { digestFairKey, fairKeyOfBody } from './fair-key.ts'
import { encodeGatherPlan } from './gather-plan.ts'
import type { GroupBudgets } from './group-budgets.ts'
import type { JobCost } from './job-cost.ts'
import { encodeJobFlow } from './job-flow.ts'
import type { Refusal } from './jobs.ts'
import { isForLater, withoutDefaults } from './new-entry.ts'
import type { NewJob } from './new-job.ts'
import { formatOf, splitPresentation } from './presentation.ts'
import { digestPrefix } from './prompt-prefixes.ts'
import type { Argument } from './scripts.ts'

/** A job for the create script. */
export type PreparedJob = {
  job: NewJob
  /** The job as the caller handed it in. */
  asked: NewJob
  id: string
  /** The stored form of its content hash. */
  hash: string
  record: Map<string, string | Buffer>
  args: Argument[]
  /** Null: it goes through its lane's queue. */
  direct: DirectPlan | null
}

/** A job handed to the create script, and what the script answered. */
export type Submitted = PreparedJob & {
  /** `parked`: as `created`, but it waits for a turn of its fair key and needs no queue entry yet. */
  kind: 'created' | 'parked' | 'shared' | 'hit' | 'replayed' | 'conflict' | Refusal['code']
  rest: unknown[]
}

/** What it takes to prepare a job. */
type Preparation = {
  atRest: AtRest
  /** Of the tenant. */
  root: string
  asked: NewJob
  id: string
  /** How long the job is kept after its end, ms. */
  retainMs: number
  /** Channel for the end of the job; null: none. */
  replyTo: string | null
  /** How the job goes straight to a worker; null: through its lane's queue. */
  direct: DirectPlan | null
  /** The answer has only the state of a known or answered job, without its record or its result. */
  isBrief: boolean
  /** Budgets of its group that this process knows; null: none. */
  groupBudgets: GroupBudgets | null
  /** Unix ms. */
  now: number
}

/** Prepares a job for the create script: its hash, its record and the script's arguments. */
export function prepare(preparation: Preparation): PreparedJob {
  const { atRest, root, asked, id, replyTo, direct, groupBudgets, now } = preparation
  const { fairKey } = asked
  const { prefix } = asked.cost
  const cost: JobCost = {
    ...asked.cost,
    ...(fairKey === undefined ? {} : { fairKey: digestFairKey(root, fairKey, atRest) }),
    ...(prefix === undefined ? {} : { prefix: digestPrefix(prefix, atRest) }),
  }
  const job: NewJob = { ...asked, cost }
  const plainHash = contentHash(job)
  const [hash] = atRest.digests(plainHash)
  const record = buildRecord(job, { atRest, root, id, replyTo })
  const args = encodeCreate({
    ...{ job, id, hash, record, direct },
    fingerprints: fingerprintsOf(job, plainHash, atRest),
    retainMs: preparation.retainMs,
    windows: [
      ...ownBudgets(job),
      ...toWindows({ owner: 'group', name: job.group }, groupBudgets?.budgets ?? [], now),
    ],
    groupBudgetsVersion: groupBudgets?.version ?? null,
    isBrief: preparation.isBrief,
  })
  return { job, asked, id, hash, record, args, direct }
}

/** The fields of a new job's record that the create script does not know by itself. */
function buildRecord(
  job: NewJob,
  { atRest, root, id, replyTo }: Pick<Preparation, 'atRest' | 'root' | 'id' | 'replyTo'>,
): Map<string, string | Buffer> {
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
    // lua/forget.lua reads these lines.
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
  return record
}

/** Until when a flex job may wait at flex, as `patience_of` in lua/common.lua reads it; null for a job of another tier. */
function encodePatience({ flex }: JobCost): string | null {
  if (flex === undefined) return null
  return flex.until === null ? `+${flex.fallBackAfter}` : String(Math.round(flex.until))
}

/** The job's budgets, with the digest of its fair key. */
function ownBudgets({ limits, cost }: NewJob): BudgetWindow[] {
  return (limits.budgets ?? []).map((window) =>
    window.owner === 'fair_key' ? { ...window, name: cost.fairKey ?? null } : window,
  )
}

function fingerprintsOf(job: NewJob, plainHash: string, atRest: AtRest): readonly string[] {
  if (job.idempotencyKey === null) return []
  return job.fingerprint === undefined ? atRest.digests(fingerprint(job, plainHash)) : [job.fingerprint]
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
