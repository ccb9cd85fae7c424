import type { Job } from '../../jobs/job.ts'
import type { Jobs } from '../../jobs/jobs.ts'
import type { JsonValue } from '../../lib/json.ts'
import { isBeginning, isPartOfAnswer } from '../../providers/response-events.ts'
import type { CallProgress } from './watch.ts'

/**
 * The progress of a job from its beginning, or from its last retry. Every reader gets the same steps at any time. The first attempt that
 * showed a part of the answer counts, because a client may have seen it; earlier attempts only tell that a response has begun. Ends without
 * `broken`, `ended` or `gone` when the signal does.
 *
 * @param from where the job's events begin, if known
 */
export async function* watchStored(
  jobs: Pick<Jobs, 'getRequest' | 'follow'>,
  tenant: string,
  id: string,
  signal: AbortSignal,
  from?: string,
): AsyncGenerator<CallProgress> {
  const cursor = from ?? (await jobs.getRequest(tenant, id))?.cursor
  const following = cursor === undefined ? null : await jobs.follow(tenant, id, cursor, signal)
  if (following === null) return yield { kind: 'gone' }
  /** A call that continued while its job was cancelled lacks its beginning. */
  let isCut = false
  let isOpen = false
  let isShown = false
  let ended: Job | null = null
  for await (const { event, data } of following.events) {
    // A retry undid an end that was followed by more events.
    if (ended !== null && isShown) return yield { kind: 'broken', reason: 'interrupted' }
    ended = data.job === undefined ? null : (data.job as Job)
    if (ended !== null) continue
    if (event !== 'job.delta') {
      if (isShown) return yield { kind: 'broken', reason: readReason(data.reason) }
      if (event === 'job.started') isCut = false
      continue
    }
    const chunk = data.chunk as JsonValue
    isCut ||= !isOpen && cursor !== '' && !isBeginning(chunk)
    if (isCut) continue
    isOpen = true
    isShown ||= isPartOfAnswer(chunk)
    yield { kind: 'chunk', chunk }
  }
  if (ended !== null) yield { kind: 'ended', job: ended }
  else if (!signal.aborted) yield { kind: 'gone' }
}

function readReason(reason: unknown): string {
  return typeof reason === 'string' ? reason : 'interrupted'
}
