import { readShortage } from './budgets.ts'
import type { JobType } from './job.ts'
import type { Refusal } from './jobs.ts'
import { startOf } from './new-entry.ts'
import type { JobRecord } from './record.ts'
import type { Submitted } from './submission.ts'

/** The record of a job as the create script left it, built from the script's arguments and its answer. */
export function completeRecord(
  { record: sent, hash, job }: Pick<Submitted, 'record' | 'hash' | 'job'>,
  kind: 'created' | 'parked' | 'shared' | 'hit',
  rest: Buffer[],
): JobRecord {
  // After the time: of a hit its answer; of a created job how many workers got its message, and whether the script started it.
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

/** Whether the script that created the job has also started it, by its answer. */
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
