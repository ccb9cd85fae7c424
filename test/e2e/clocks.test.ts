import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { beforeAll, describe, expect, type TestContext, test } from 'vitest'
import type { Job } from '../../jobs/job.ts'
import { runClocks } from '../faults/clocks.ts'
import { type RunningProcess, startProcess } from '../helpers/processes.ts'
import { startTestRedis } from '../helpers/redis.ts'
import { RUN_VARIABLE } from '../helpers/run-processes.ts'
import { chat, createBulk, createJob, groupEnded, waitForJob } from '../helpers/stack.ts'

const hook = fileURLToPath(new URL('../faults/shift-clock.mjs', import.meta.url))
const HOUR_MS = 3_600_000

let simulator: RunningProcess
beforeAll(async () => {
  simulator = await startProcess({
    args: ['main.ts', 'simulator', '--port', '0', '--latency', '20'],
    ready: /simulator: (http:\S+)\/v1/,
    readyMs: 50_000,
  })
}, 60_000)

/** A whole service whose clock is wrong, over a Redis whose clock is right. */
async function startWrong(shiftMs: number, { onTestFinished }: Pick<TestContext, 'onTestFinished'>) {
  const server = await startTestRedis()
  onTestFinished(() => server.close())
  const redis = new Redis(server.url)
  onTestFinished(() => redis.disconnect())
  const folder = await mkdtemp(join(process.env[RUN_VARIABLE] ?? tmpdir(), 'clocks-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const path = join(folder, 'sluice.yaml')
  await writeFile(
    path,
    `
redis: { url: "${server.url}" }
worker: { spool: "${folder}/spool" }
jobs: { retain: 1h }
providers:
  sim:
    kind: openai-compatible
    base_url: ${simulator.match[1]}/v1
    api_key: a-key-for-tests
    limits: { max_concurrency: 64 }
    models: { chat: {} }
`,
  )
  const running = await startProcess({
    args: ['main.ts', 'all', '--config', path, '--port', '0'],
    ready: /"url":"(http:[^"]+)","msg":"ready"/,
    readyMs: 50_000,
    env: { NODE_OPTIONS: `--import ${hook}`, SHIFT_CLOCK_MS: String(shiftMs) },
  })
  onTestFinished(async () => {
    running.kill('SIGTERM')
    await running.exited
  })
  return { redis, url: running.match[1]! }
}

async function countCommands(redis: Redis): Promise<number> {
  return Number(/total_commands_processed:(\d+)/.exec(await redis.info('stats'))![1])
}

describe.each([
  ['an hour ahead', HOUR_MS],
  ['8 days ahead', 8 * 24 * HOUR_MS],
  ['an hour behind', -HOUR_MS],
])('a service whose clock is %s', { concurrent: true }, (_, shiftMs) => {
  test('starts scheduled jobs at their time, without asking Redis all the time, and keeps ended ones', async (context) => {
    const { redis, url } = await startWrong(shiftMs, context)
    const ids = await createBulk(
      url,
      Array.from({ length: 60 }, (_, index) => chat(`number ${index}`, { group: 'kept' })),
    )
    await groupEnded(url, 'kept')

    // This process' clock is Redis' clock: both are on one machine.
    const since = performance.now()
    const runAt = Date.now() + 3_000
    const byDelay = await createJob(url, chat('by delay', { delay_ms: 3_000 }))
    const byTime = await createJob(url, chat('by time', { run_at: new Date(runAt).toISOString() }))
    for (const { run_at } of [byDelay, byTime]) {
      expect(Math.abs(Date.parse(run_at!) - runAt)).toBeLessThan(10_000)
    }
    const commandsBefore = await countCommands(redis)
    const countedSince = performance.now()
    await sleep(Math.max(500, runAt - 500 - Date.now()))
    const seconds = (performance.now() - countedSince) / 1_000
    expect(((await countCommands(redis)) - commandsBefore) / seconds).toBeLessThan(200)
    for (const { id, run_at } of [byDelay, byTime]) {
      const job: Job = await waitForJob(url, id)
      expect(job).toMatchObject({ status: 'completed', attempts: 1 })
      const lateMs = Date.parse(job.started_at!) - Date.parse(run_at!)
      expect(lateMs).toBeGreaterThanOrEqual(0)
      expect(lateMs).toBeLessThan(10_000)
    }

    // The sweepers have run several times.
    expect(performance.now() - since).toBeGreaterThan(2_500)
    const found = await Promise.all(ids.map(async (id) => (await fetch(`${url}/v1/jobs/${id}`)).status))
    expect(found.filter((status) => status !== 200)).toEqual([])
  }, 60_000)
})

test('under load, API and worker processes with wrong clocks lose no job, have no call paid twice unflagged, and start nothing early', async ({
  onTestFinished,
}) => {
  const { tally, recoveriesMs, broken } = await runClocks(
    {
      seed: 20_261_129,
      quick: true,
      from: 'HEAD',
      kills: 1,
      mixMs: 0,
      stalledAfterMs: 3_000,
      say() {},
      opened: (stage) => onTestFinished(() => stage.close()),
    },
    { loadMs: 3_000, perSecond: 8 },
  )
  const { lost, repeated, failed, mistaken } = tally
  expect({ lost, repeated, failed, mistaken }).toEqual({
    lost: new Map(),
    repeated: new Map(),
    failed: new Map(),
    mistaken: [],
  })
  expect(recoveriesMs).toHaveLength(4)
  // `npm run faults` tests the times: here other tests share the machine.
  expect(broken.filter((text) => !text.includes(' took '))).toEqual([])
}, 120_000)
