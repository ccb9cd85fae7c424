import { fileURLToPath } from 'node:url'
import { type TestContext, test } from 'vitest'
import { chat, createBulk, getAttempts, groupEnded, post, startStack, waitForJob } from '../helpers/stack.ts'

const hook = fileURLToPath(new URL('../fixtures/block-main-loop.mjs', import.meta.url))

/** A worker whose main loop is blocked for `ms` in the middle of its calls, and an idle one. */
async function blockWorker(
  { expect, onTestFinished }: TestContext,
  { ms, worker = '' }: { ms: number; worker?: string },
) {
  const stack = await startStack({
    simulator: ['--latency', '1500'],
    workerEnv: { NODE_OPTIONS: `--import ${hook}`, BLOCK_MS: String(ms) },
    worker,
    extra: 'jobs: { stalled_after: 2s }',
  })
  onTestFinished(async () => {
    await stack.stop()
  })
  const url = stack.urls[0]!
  const queued = createBulk(
    url,
    Array.from({ length: 8 }, (_, index) => chat(`number ${index}`, { group: 'blocked' })),
  )
  // Straight from the API to the worker, which holds it in another way.
  const awaited = post(url, '/v1/chat/completions', chat('awaited').body)
  await expect.poll(async () => (await stack.simulator.state()).in_flight, { timeout: 10_000 }).toBe(9)
  const [victim] = stack.workers
  victim!.kill('SIGUSR2')
  await victim!.waitForOutput(/the main loop is blocked/)
  await stack.startWorker()
  return { stack, url, ids: await queued, awaited }
}

test.concurrent('a worker whose main loop is blocked for longer than jobs.stalled_after keeps its jobs, and each call is made once', async (context) => {
  const { expect } = context
  const { stack, url, ids, awaited } = await blockWorker(context, { ms: 8_000 })
  expect((await groupEnded(url, 'blocked')).counts.completed).toBe(8)
  const id = (await awaited).headers.get('x-job-id')!
  expect((await waitForJob(url, id)).status).toBe('completed')
  for (const one of [...ids, id]) {
    const attempts = await getAttempts(url, one)
    expect(attempts).toMatchObject([{ outcome: 'completed', ambiguous: false }])
    expect(attempts[0]!.latency_ms).toBeGreaterThan(5_000)
  }
  expect(await stack.simulator.calls()).toHaveLength(9)
}, 60_000)

test.concurrent('a worker whose main loop is blocked for longer than worker.hung_after loses its jobs to another', async (context) => {
  const { expect } = context
  const { url, ids, awaited } = await blockWorker(context, { ms: 12_000, worker: 'hung_after: 1s' })
  expect((await groupEnded(url, 'blocked')).counts.completed).toBe(8)
  expect((await awaited).ok).toBe(true)
  const attempts = await Promise.all(ids.map((id) => getAttempts(url, id)))
  for (const list of attempts) {
    expect(list[0]).toMatchObject({ ambiguous: true })
    expect(list.at(-1)!.outcome).toBe('completed')
    expect(list.at(-1)!.latency_ms).toBeLessThan(5_000)
  }
}, 60_000)
