import { isTerminal, type Job } from '../../jobs/job.ts'
import type { Jobs } from '../../jobs/jobs.ts'
import type { JsonValue } from '../../lib/json.ts'
import type { OpenAiCall } from './call.ts'

/** What a waiting request learns about its job. */
export type CallProgress =
  /** `of`: the chunk is part of the answer of this job, which has ended; absent: the job is running. */
  | { kind: 'chunk'; chunk: JsonValue; of?: Job }
  /** The attempt whose chunks were sent failed; others may follow. */
  | { kind: 'broken'; reason: string }
  | { kind: 'ended'; job: Job }
  /** The job was deleted. */
  | { kind: 'gone' }

/** Longest single wait, ms; waits follow one another. */
const LOOK_MS = 600_000

/** The progress of a call's job up to its end: nothing comes after `broken`, `ended` or `gone`. Ends without them when the signal does. */
export async function* watchCall(
  jobs: Jobs,
  call: OpenAiCall,
  signal: AbortSignal,
): AsyncGenerator<CallProgress> {
  if (isTerminal(call.job.status)) yield { kind: 'ended', job: call.job }
  else if (call.isFresh && call.isShownLive) yield* followCall(jobs, call, signal)
  else yield* waitForEnd(jobs, call, signal)
}

async function* followCall(
  jobs: Jobs,
  { tenant, job }: OpenAiCall,
  signal: AbortSignal,
): AsyncGenerator<CallProgress> {
  const following = await jobs.follow(tenant, job.id, '', signal)
  if (following === null) return yield { kind: 'gone' }
  let shown: unknown = null
  for await (const { event, data } of following.events) {
    if (data.job !== undefined) return yield { kind: 'ended', job: data.job as Job }
    if (event === 'job.delta') {
      shown ??= data.attempt
      if (shown !== data.attempt) return yield { kind: 'broken', reason: 'interrupted' }
      yield { kind: 'chunk', chunk: data.chunk as JsonValue }
    } else if (shown !== null) {
      return yield { kind: 'broken', reason: typeof data.reason === 'string' ? data.reason : 'interrupted' }
    }
  }
  if (!signal.aborted) yield { kind: 'gone' }
}

/**
 * Waits for the end of the job. Used when the client wants the whole answer, when an attempt broke off before the client was sent anything,
 * and for a job that ran before: its events include chunks of earlier attempts and ends that no longer hold.
 */
export async function* waitForEnd(
  jobs: Jobs,
  { tenant, job }: OpenAiCall,
  signal: AbortSignal,
): AsyncGenerator<CallProgress & { kind: 'ended' | 'gone' }> {
  while (!signal.aborted) {
    const found = await jobs.wait(tenant, job.id, LOOK_MS, signal)
    if (found === null) return yield { kind: 'gone' }
    if (isTerminal(found.status)) return yield { kind: 'ended', job: found }
  }
}
