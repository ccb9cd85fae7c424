import { test } from 'vitest'
import {
  chat,
  createBulk,
  getAttempts,
  getJob,
  groupEnded,
  type Stack,
  startStack,
} from '../helpers/stack.ts'

function texts(count: number, group: string) {
  return Array.from({ length: count }, (_, index) => chat(`number ${index}`, { group }))
}

/** Prompts that were paid for more than once. */
async function paidTwice(stack: Stack): Promise<string[]> {
  const hashes = (await stack.simulator.calls()).map((call) => call.prompt_hash)
  return hashes.filter((hash, index) => hashes.indexOf(hash) !== index)
}

test.concurrent('the jobs of a killed worker run again within 20 s, marked as ambiguous, and every job completes', async ({
  expect,
  onTestFinished,
}) => {
  const stack = await startStack({
    workers: 2,
    simulator: ['--latency', '1500'],
    // Calls of the killed worker come back after 30 s: its jobs must not wait for them.
    limits: '{ max_concurrency: 150 }',
  })
  onTestFinished(async () => {
    await stack.stop()
  })
  const url = stack.urls[0]!
  const ids = await createBulk(url, texts(60, 'killed'))
  await expect.poll(async () => (await stack.simulator.state()).in_flight, { timeout: 10_000 }).toBe(60)
  const victim = stack.workers[0]!
  victim.kill('SIGKILL')
  const killedAt = Date.now()
  expect((await victim.exited).signal).toBe('SIGKILL')
  const summary = await groupEnded(url, 'killed', 40_000)
  expect(summary).toMatchObject({ total: 60, counts: { completed: 60 } })

  const attempts = await Promise.all(ids.map((id) => getAttempts(url, id)))
  const lost = attempts.filter(([first]) => first!.outcome === 'lost')
  expect(lost.length).toBeGreaterThan(0)
  for (const [first, second, ...others] of lost) {
    expect(first!.ambiguous).toBe(true)
    expect(second).toMatchObject({ outcome: 'completed', ambiguous: false })
    expect(Date.parse(second!.started_at) - killedAt).toBeLessThanOrEqual(20_000)
    expect(others).toEqual([])
  }
  // The other worker's calls were made once.
  for (const list of attempts.filter((list) => !lost.includes(list))) expect(list).toHaveLength(1)
  expect((await paidTwice(stack)).length).toBeLessThanOrEqual(lost.length)
}, 90_000)

test.concurrent('a worker that gets SIGTERM under load finishes its calls, exits with 0, and nothing is paid for twice', async ({
  expect,
  onTestFinished,
}) => {
  const stack = await startStack({
    simulator: ['--latency', '700', '--jitter', '300'],
    limits: '{ max_concurrency: 30 }',
  })
  onTestFinished(async () => {
    expect(await stack.stop()).toEqual([0, 0, 0, 0])
  })
  const url = stack.urls[0]!
  const ids = await createBulk(url, texts(150, 'drained'))
  await expect.poll(async () => (await stack.simulator.state()).in_flight, { timeout: 10_000 }).toBe(30)
  const [leaving] = stack.workers
  leaving!.kill('SIGTERM')
  expect(await leaving!.exited).toEqual({ code: 0, signal: null })
  expect((await stack.simulator.state()).in_flight).toBe(0)
  const jobs = await Promise.all(ids.map((id) => getJob(url, id)))
  expect(jobs.filter((job) => job.status === 'running')).toEqual([])
  const done = jobs.filter((job) => job.status === 'completed').length
  expect(done).toBe((await stack.simulator.state()).billed_calls)
  expect(done).toBeLessThan(150)

  await stack.startWorker()
  expect((await groupEnded(url, 'drained')).counts.completed).toBe(150)
  expect(await paidTwice(stack)).toEqual([])
  for (const id of ids) expect(await getAttempts(url, id)).toMatchObject([{ outcome: 'completed' }])
}, 60_000)
