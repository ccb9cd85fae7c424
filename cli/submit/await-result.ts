import { type Client, RefusedError } from '../client.ts'
import { hasEnded, type Job } from '../job.ts'
import type { Submitted } from './post-blocks.ts'
import type { Result } from './render-result.ts'

/** How long the server may hold one request, in s; its maximum is 60. */
const HOLD_SECONDS = 30
/** Minimum interval of requests to a server that does not hold them, such as one that is closing, ms. */
const LEAST_PAUSE_MS = 500

export type AwaitDeps = {
  client: Pick<Client, 'json'>
  sleep: (ms: number) => Promise<unknown>
  now: () => number
}

/** Waits until the job of a line has ended. A line without a job is its own result. */
export async function awaitResult(submitted: Submitted, deps: AwaitDeps): Promise<Result> {
  if ('error' in submitted) return submitted
  const { line, form, id } = submitted
  for (;;) {
    const asked = deps.now()
    const job = await getJob(id, deps)
    if (job === null) {
      const message = `the server no longer has the job ${id}`
      const error = { message, type: 'not_found_error', param: null, code: 'not_found' }
      return { line, form, error, jobId: id }
    }
    if (hasEnded(job)) return { line, form, job }
    if (deps.now() - asked < LEAST_PAUSE_MS) await deps.sleep(LEAST_PAUSE_MS)
  }
}

async function getJob(id: string, { client }: AwaitDeps): Promise<Job | null> {
  try {
    return await client.json<Job>('GET', `/v1/jobs/${id}?wait=${HOLD_SECONDS}`)
  } catch (error) {
    if (error instanceof RefusedError && error.status === 404) return null
    throw error
  }
}
