import { expect, onTestFinished, test } from 'vitest'
import { followBySocket, followBySse, judgeFollowers } from '../faults/event-followers.ts'
import { countEnded, createRandomFlows, judgeFlows, judgePurchases } from '../faults/random-flows.ts'
import { createOnce, createSchedule, judgeSettled, promptHashOf, settleSlots } from '../faults/scheduled.ts'
import { startTestRedis } from '../helpers/redis.ts'
import { seed } from '../helpers/seed.ts'
import { chat, createJob, startStack } from '../helpers/stack.ts'

const FLOWS = 12
const SLOTS = 'a slot each second'

test('slots and flows end while workers, an API process and Redis are killed: each is bought once, and all events are read once', async () => {
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
  const followers = [followBySse(() => urls.toReversed()), followBySocket(() => urls.toReversed())]
  onTestFinished(async () => {
    for (const follower of followers) await follower.leave()
  })
  const schedule = await createSchedule(url, SLOTS, { every: '1s', catch_up: 'all' })
  const creating = createRandomFlows(() => urls, seed, FLOWS, 200)
  const once = createOnce(() => urls, 'created while an API process is killed')
  stack.apis[1]!.kill('SIGKILL')
  await stack.apis[1]!.exited
  urls = [url]
  const flows = await creating
  await once
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
      .poll(() => countEnded(url, flows), { timeout: 30_000 })
      .toBeGreaterThanOrEqual(Math.min(before + 1, FLOWS))
  }
  await expect.poll(() => countEnded(url, flows), { timeout: 60_000 }).toBe(FLOWS)
  expect(await settleSlots(url, schedule, Date.now())).toBeGreaterThan(0)
  expect(await judgeSettled(url, schedule.id)).toEqual([])
  expect(await judgeFlows(url, flows)).toEqual([])
  const hashes = (await stack.simulator.calls()).map((call) => call.prompt_hash)
  const own = hashes.filter((hash) => hash !== promptHashOf(SLOTS))
  expect(await judgePurchases(url, flows, own)).toEqual([])

  const { id } = await createJob(url, chat('the last one'))
  for (const { heard } of followers)
    await expect
      .poll(() => heard.some(({ what }) => what.startsWith(id) && what.endsWith('job.completed')), {
        timeout: 30_000,
      })
      .toBe(true)
  expect(judgeFollowers(followers)).toEqual([])
  expect(followers.every(({ breaks }) => breaks > 0)).toBe(true)
}, 180_000)
