import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest'
import { toOpenAnswer } from '../../../client/http.ts'
import { type Api, ApiFailure } from '../../../dashboard/src/api.ts'
import { watchJob } from '../../../dashboard/src/state/job-watch.ts'

const path = '/v1/jobs/job_1'

/** A job that `read` returns, with these events. */
function watch(read: () => Promise<object>, events: string) {
  const api: Api = {
    open: async () => toOpenAnswer(new Response(events), 60_000),
    async json<Body>(asked: string) {
      return (asked === path ? await read() : { data: [] }) as Body
    },
  }
  const watching = watchJob({ api, id: 'job_1', tenant: null, now: Date.now, random: () => 0.5 })
  onTestFinished(watching.stop)
  return watching
}

// Between two readings the page waits.
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
})
afterEach(() => {
  vi.useRealTimers()
})

test('a slow answer does not undo a later one', async () => {
  const slow = Promise.withResolvers<object>()
  let reads = 0
  const { job } = watch(
    async () => (reads++ === 0 ? slow.promise : { status: 'completed' }),
    'id: 1\nevent: job.completed\ndata: {}\n\n',
  )
  await vi.waitFor(() => expect(job.value?.status).toBe('completed'), 15_000)
  slow.resolve({ status: 'running' })
  await new Promise(setImmediate)
  expect(job.value?.status).toBe('completed')
})

test('a job is read again after the server was away, though no event comes any more', async () => {
  let reads = 0
  const { job, failure } = watch(async () => {
    if (reads++ < 3) throw new ApiFailure(0, null, 'The server does not answer.')
    return { status: 'completed' }
  }, 'id: 1\nevent: job.completed\ndata: {}\n\n')
  await vi.advanceTimersByTimeAsync(1_000)
  expect(failure.value?.status).toBe(0)
  await vi.advanceTimersByTimeAsync(9_000)
  expect(job.value?.status).toBe('completed')
  expect(failure.value).toBeNull()
})
