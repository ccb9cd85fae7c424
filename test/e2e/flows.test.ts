import { expect, onTestFinished, test } from 'vitest'
import { countEnded, createRandomFlows, judgeFlows } from '../faults/random-flows.ts'
import { startTestRedis } from '../helpers/redis.ts'
import { startStack } from '../helpers/stack.ts'

const FLOWS = 12

test('flows come to their ends while workers, an API process and Redis are killed, each step bought once, events without gaps', async () => {
  const seed = Number(process.env.SLUICE_SEED ?? Math.floor(Math.random() * 2 ** 31))
  console.log(`seed ${seed} (SLUICE_SEED)`)
  const redis = await startTestRedis({ durable: true })
  onTestFinished(() => redis.close())
  const stack = await startStack({
    apis: 2,
    workers: 2,
    redis: { url: redis.url, prefix: 'sluice' },
    extra: 'jobs: { stalled_after: 1s }',
  })
  onTestFinished(async () => {
    await stack.stop()
  })
  const url = stack.urls[0]!
  let urls = stack.urls
  const creating = createRandomFlows(() => urls, seed, FLOWS, 200)
  stack.apis[1]!.kill('SIGKILL')
  await stack.apis[1]!.exited
  urls = [url]
  const flows = await creating
  for (const victim of ['worker', 'redis', 'worker']) {
    const before = await countEnded(url, flows)
    if (victim === 'redis') process.kill(redis.pid, 'SIGKILL')
    else {
      const worker = stack.workers.shift()!
      worker.kill('SIGKILL')
      await worker.exited
      await stack.startWorker()
    }
    // Something has to happen between two deaths.
    await expect
      .poll(() => countEnded(url, flows), { timeout: 10_000 })
      .toBeGreaterThanOrEqual(Math.min(before + 1, FLOWS))
  }
  await expect.poll(() => countEnded(url, flows), { timeout: 20_000 }).toBe(FLOWS)
  const calls = await stack.simulator.calls()
  expect(
    await judgeFlows(
      url,
      flows,
      calls.map((call) => call.prompt_hash),
    ),
  ).toEqual([])
}, 60_000)
