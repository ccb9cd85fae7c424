import type { JsonObject } from '../lib/json.ts'
import { keepSourcesAt, parseWithSource } from '../lib/json-source.ts'
import { UnreadableError } from '../lib/sealer.ts'
import type { Usage } from '../lib/usage.ts'
import { type AtRest, type StoredError, toUndecryptable } from './at-rest.ts'
import type { Job, JobError, JobEvent, JobEventType, JobStatus } from './job.ts'
import type { JobCost } from './job-cost.ts'
import { showJobFlow } from './job-flow.ts'
import { keepResult } from './job-result.ts'
import { withoutOmission } from './omission.ts'

/** A record as Redis holds it: names to bytes, or to texts if it was built here. Bodies and results are bytes. */
export type JobRecord = Map<string, Buffer | string>

/** Turns a flat HGETALL answer into a record; null if there is none, or only the mark of a deleted job. */
export function toRecord(flat: unknown): JobRecord | null {
  const list = flat as (Buffer | string)[]
  if (!Array.isArray(list) || list.length === 0) return null
  const record: JobRecord = new Map()
  for (let index = 0; index + 1 < list.length; index += 2) {
    record.set(list[index]!.toString(), list[index + 1] as Buffer)
  }
  return record.has('deleted') ? null : record
}

/** The text of a field; null if it is absent or empty. */
export function textOf(record: JobRecord, name: string): string | null {
  const value = record.get(name)
  return value === undefined || value.length === 0 ? null : value.toString()
}

/** The number in a field; null if it is absent or empty. */
export function numberOf(record: JobRecord, name: string): number | null {
  const value = textOf(record, name)
  return value === null ? null : Number(value)
}

function jsonOf<T>(record: JobRecord, name: string): T | null {
  const value = textOf(record, name)
  return value === null ? null : (JSON.parse(value) as T)
}

/** Unix ms in the form in which the API writes times. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString()
}

function timeOf(record: JobRecord, name: string): string | null {
  const ms = numberOf(record, name)
  return ms === null ? null : isoTime(ms)
}

/** The body of a job. Throws `UnreadableError` if it cannot be decrypted. */
export function bodyOf(id: string, record: JobRecord, { root, atRest }: Omit<View, 'render'>): JsonObject {
  return atRest.openBody(root, id, record.get('body') as Buffer)
}

/** What the job takes from its lane. Only records of jobs that may run again have it. */
export function costOf(record: JobRecord): JobCost {
  return jsonOf<JobCost>(record, 'cost')!
}

/**
 * Turns a stored result into what the client asked for. `format` is what the job asked for. It is injected, because
 * only the providers' code knows what a result looks like.
 */
export type ResultRenderer = (stored: JsonObject, format: string | null) => JsonObject

/** What is needed to read a tenant's records. */
export type View = { root: string; atRest: AtRest; render: ResultRenderer }

/** The job as clients see it. If its result cannot be decrypted, the result is null and the error says so. */
export function toJob(id: string, record: JobRecord, view: View): Job {
  const status = textOf(record, 'status') as JobStatus
  const error = jsonOf<StoredError>(record, 'error')
  const { result, unreadable } = status === 'completed' ? readResult(id, record, view) : NO_RESULT
  const job: Job = {
    id,
    object: 'job',
    type: textOf(record, 'type') as Job['type'],
    status,
    model: textOf(record, 'model')!,
    lane: textOf(record, 'lane')!,
    group: textOf(record, 'group'),
    fair_key: showFairKey(id, record, view),
    ...showDurable(record),
    priority: textOf(record, 'priority') as Job['priority'],
    tier: (textOf(record, 'tier') ?? 'standard') as Job['tier'],
    ...showFlow(record),
    metadata: jsonOf(record, 'metadata') ?? {},
    created_at: timeOf(record, 'created_at')!,
    run_at: timeOf(record, 'run_at'),
    started_at: timeOf(record, 'started_at'),
    finished_at: timeOf(record, 'finished_at'),
    deadline: timeOf(record, 'deadline'),
    attempts: numberOf(record, 'attempts') ?? 0,
    max_attempts: numberOf(record, 'max_attempts') ?? 1,
    redrives: numberOf(record, 'redrives') ?? 0,
    next_attempt_at: timeOf(record, 'next_attempt_at'),
    estimated_start_at: null,
    waiting_for: status === 'scheduled' ? 'schedule' : readWaitingFor(status, record),
    cache: (textOf(record, 'cache') ?? 'miss') as Job['cache'],
    result: null,
    ...readUsage(record, status),
    cost_usd: numberOf(record, 'cost_usd'),
    dropped_members: jsonOf<Record<string, string[]>>(record, 'dropped')?.[textOf(record, 'lane')!] ?? [],
    cost_is_estimate: textOf(record, 'cost_is_estimate') !== null,
    error: unreadable ?? (error && view.atRest.openError(view.root, error)),
  }
  return result === null ? job : keepResult(job, result)
}

/**
 * What a job waits for. A job that is gathered for a provider batch waits for that, unless it waits for another try.
 */
function readWaitingFor(status: JobStatus, record: JobRecord): Job['waiting_for'] {
  const stored = textOf(record, 'waiting_for') as Job['waiting_for']
  if (stored !== null || status !== 'queued') return stored
  return textOf(record, 'gather') !== null && textOf(record, 'leader') === null ? 'provider_batch' : null
}

function showFairKey(id: string, record: JobRecord, { root, atRest }: View): string | null {
  const stored = textOf(record, 'fair_key')
  return stored === null ? null : atRest.openFairKey(root, id, stored)
}

function showDurable(record: JobRecord): Pick<Job, 'durable'> {
  const [, step, id] = textOf(record, 'durable')?.split('\n') ?? []
  return id === undefined ? {} : { durable: { id, step: step! } }
}

/** A usage as it is stored. Cached answers contain theirs. */
export type StoredUsage = Usage & {
  is_estimate?: true
  /** The tier of service that the answer names; absent: standard. */
  tier?: string
  /** What the prompt cache saved, billionths of a USD; absent: nothing. */
  saved_nano?: number
}

function readUsage(
  record: JobRecord,
  status: JobStatus,
): Pick<Job, 'usage' | 'usage_is_estimate' | 'served_tier' | 'prompt_cache_saved_usd'> {
  const stored = jsonOf<StoredUsage>(record, 'usage')
  const isAnswered = status === 'completed'
  if (stored === null) {
    return { usage: null, usage_is_estimate: false, served_tier: isAnswered ? 'standard' : null }
  }
  const { is_estimate, tier = 'standard', saved_nano: saved, ...usage } = stored
  // An answer that another job paid for saved nothing here.
  const isPaid = saved !== undefined && !['hit', 'shared'].includes(textOf(record, 'cache') ?? '')
  return {
    usage,
    usage_is_estimate: is_estimate === true,
    served_tier: isAnswered ? tier : null,
    ...(isPaid ? { prompt_cache_saved_usd: saved / 1e9 } : {}),
  }
}

function showFlow(record: JobRecord): Pick<Job, 'flow'> {
  const stored = textOf(record, 'flow')
  return stored === null ? {} : { flow: showJobFlow(stored) }
}

const NO_RESULT = { result: null, unreadable: null }

function readResult(
  id: string,
  record: JobRecord,
  { root, atRest, render }: View,
): { result: Parameters<typeof keepResult>[1] | null; unreadable: JobError | null } {
  const stored = record.get('result') as Buffer | undefined
  if (stored === undefined) return NO_RESULT
  const cache = textOf(record, 'cache')
  // Only an answer that was shared or cached may have been sealed for another job.
  const from = cache === 'hit' || cache === 'shared' ? null : id
  try {
    const payload = atRest.openResultPayload(root, from, textOf(record, 'hash') ?? '', stored)
    const format = textOf(record, 'format')
    const renderIt = format === null ? null : (result: JsonObject) => render(result, format)
    return { result: { payload, render: renderIt }, unreadable: null }
  } catch (error) {
    if (!(error instanceof UnreadableError)) throw error
    atRest.onUnreadable(error, id)
    return { result: null, unreadable: toUndecryptable(error) }
  }
}

type StoredEvent = {
  event: JobEventType
  at: number
  next_attempt_at?: number
  error?: StoredError | null
  /** An encrypted chunk. */
  sealed?: string
} & JsonObject

/**
 * A stored event as subscribers get it. A terminal event contains the whole job. If the job was retried since, the
 * event still shows it as it ended then.
 */
export function toEvent(
  id: string,
  seq: number,
  stored: string,
  currentJob: () => Job,
  { root, atRest }: Omit<View, 'render'>,
): JobEvent {
  const parsed = parseWithSource(stored) as StoredEvent
  if (parsed.event === 'job.delta') keepSourcesAt(parsed, ['chunk'])
  const { event, at, next_attempt_at, error, run_at, sealed, ...members } = parsed
  const data: JobEvent['data'] = { job_id: id, seq, at: isoTime(at), ...members }
  if (typeof next_attempt_at === 'number') data.next_attempt_at = isoTime(next_attempt_at)
  if (typeof run_at === 'number') data.run_at = isoTime(run_at)
  if (sealed !== undefined) data.chunk = atRest.openChunk(root, id, Number(members.attempt), sealed)
  const status = event.slice('job.'.length)
  if (isTerminalEvent(event)) {
    const job = currentJob()
    data.job =
      job.status === status
        ? job
        : {
            ...withoutOmission(job),
            status: status as JobStatus,
            finished_at: isoTime(at),
            error: error ? atRest.openError(root, error) : null,
            result: null,
          }
  }
  return { cursor: String(seq), event, data }
}

/** Whether the event ends a job. */
export function isTerminalEvent(event: JobEventType): boolean {
  return event === 'job.completed' || event === 'job.failed' || event === 'job.cancelled'
}
