import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { startTestRedis } from '../helpers/redis.ts'
import { chat, createBulk, getAttempts, groupEnded, startStack } from '../helpers/stack.ts'

/** A worker with results that Redis, at the end of its memory, did not accept. */
async function fillWithResults() {
  const server = await startTestRedis()
  onTestFinished(() => server.close())
  const redis = new Redis(server.url)
  onTestFinished(() => redis.disconnect())
  const stack = await startStack({
    redis: { url: server.url, prefix: 'test' },
    simulator: ['--latency', '1000'],
    extra: 'jobs: { stalled_after: 2s }',
  })
  onTestFinished(async () => {
    await redis.config('SET', 'maxmemory', '0')
    await stack.stop()
  })
  const url = stack.urls[0]!
  const ids = await createBulk(
    url,
    Array.from({ length: 4 }, (_, index) => chat(`number ${index}`, { group: 'full' })),
  )
  await expect.poll(async () => (await stack.simulator.state()).in_flight, { timeout: 10_000 }).toBe(4)
  await redis.config('SET', 'maxmemory', '1')
  const files = async () =>
    (await readdir(stack.spool).catch(() => [])).filter((name) => name.endsWith('.json'))
  await expect.poll(async () => (await files()).length, { timeout: 10_000 }).toBe(4)
  return { redis, stack, url, ids, files }
}

test('results that Redis did not accept survive the death of their worker: the next one stores them, and no call is repeated', async () => {
  const { redis, stack, url, ids, files } = await fillWithResults()
  for (const name of await files()) expect((await stat(join(stack.spool, name))).mode & 0o777).toBe(0o600)
  const [victim] = stack.workers
  victim!.kill('SIGKILL')
  await victim!.exited
  const next = await stack.startWorker()
  await next.waitForOutput(/"fault":"full"/)
  await redis.config('SET', 'maxmemory', '0')
  expect((await groupEnded(url, 'full')).counts.completed).toBe(4)
  for (const id of ids) {
    expect(await getAttempts(url, id)).toMatchObject([{ outcome: 'completed', ambiguous: false }])
  }
  expect(await stack.simulator.calls()).toHaveLength(4)
  await expect.poll(files).toEqual([])
}, 60_000)

test('a worker that lives stores its results when Redis has room again, and removes them from its disk', async () => {
  const { redis, stack, url, files } = await fillWithResults()
  // Longer than jobs.stalled_after: the locks are kept all the time.
  await new Promise((resolve) => setTimeout(resolve, 3_000))
  await redis.config('SET', 'maxmemory', '0')
  expect((await groupEnded(url, 'full')).counts.completed).toBe(4)
  expect(await stack.simulator.calls()).toHaveLength(4)
  await expect.poll(files).toEqual([])
}, 60_000)
