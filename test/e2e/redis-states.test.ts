import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { type TestContext, test } from 'vitest'
import { type EmbeddedRedis, startEmbeddedRedis } from '../../embedded-redis/embedded-redis.ts'
import type { RunningProcess } from '../helpers/processes.ts'
import { routeThrough, startRelay } from '../helpers/relay.ts'
import { RUN_VARIABLE } from '../helpers/run-processes.ts'
import { chat, createBulk, createJob, getJob, post, startStack, waitForJob } from '../helpers/stack.ts'
import { startReceiver, WEBHOOK_SECRET } from '../integration/webhooks/receiver.ts'

/** A Redis that a test starts and ends at any time, always at the same port; it keeps no data. */
async function openServer({ onTestFinished }: Pick<TestContext, 'onTestFinished'>) {
  const directory = await mkdtemp(join(process.env[RUN_VARIABLE] ?? tmpdir(), 'states-'))
  let running: EmbeddedRedis | null = null
  let port: number | undefined
  const server = {
    async start(...extraArgs: string[]): Promise<EmbeddedRedis> {
      running = await startEmbeddedRedis({
        directory,
        extraArgs: ['--appendonly', 'no', '--save', '', ...extraArgs],
        ...(port === undefined ? {} : { port }),
      })
      port = running.port
      return running
    },
    async stop() {
      await running?.close()
      running = null
    },
  }
  const { url } = await server.start()
  await server.stop()
  onTestFinished(async () => {
    await server.stop()
    await rm(directory, { recursive: true, force: true })
  })
  return { ...server, url }
}

async function askReadiness(url: string) {
  const response = await fetch(`${url}/readyz`)
  return { status: response.status, text: await response.text() }
}

/** Stops a process as a deployment does. */
async function end(running: RunningProcess): Promise<{ code: number | null; isPrompt: boolean }> {
  const begun = performance.now()
  running.kill('SIGTERM')
  const { code } = await running.exited
  return { code, isPrompt: performance.now() - begun < 10_000 }
}

test.concurrent('processes that start before Redis say so once, begin when it comes, go on when it is emptied, and stop without it', async (context) => {
  const { expect, onTestFinished } = context
  const server = await openServer(context)
  const receiver = await startReceiver()
  onTestFinished(receiver.close)
  const stack = await startStack({
    apis: 2,
    redis: { url: server.url, prefix: 'test' },
    simulator: ['--latency', '700'],
    extra: `webhooks: { secret: "${WEBHOOK_SECRET}", allow_private_addresses: true }`,
  })
  onTestFinished(async () => void (await stack.stop()))
  const { host, password } = new URL(server.url)
  const [dying, url] = stack.urls as [string, string]
  expect(await askReadiness(url)).toMatchObject({
    status: 503,
    text: expect.stringContaining('connection refused'),
  })
  expect((await post(url, '/v1/jobs', chat('too soon'))).status).toBe(503)
  for (const running of [...stack.apis, ...stack.workers]) {
    await running.waitForOutput(/Redis is not well/)
    const lines = running.output.split('\n').filter((line) => /"level":[456]0/.test(line))
    expect(lines).toEqual([expect.stringContaining(`Redis at redis://${host}: nothing listens there`)])
  }
  expect(password.length).toBeGreaterThan(10)
  expect(stack.output()).not.toContain(password)

  await server.start()
  await expect.poll(() => askReadiness(url), { timeout: 10_000 }).toMatchObject({ status: 200 })
  const redis = new Redis(server.url)
  redis.on('error', () => {}) // it goes before this does
  onTestFinished(() => redis.disconnect())

  /** Answered 202, by a process that is killed at once or by the other one: it runs, and its webhook comes. */
  async function goesThrough(text: string, api: string): Promise<void> {
    const before = receiver.received.length
    const { id } = await createJob(api, chat(text, { webhook: { url: receiver.url } }))
    if (api === dying) stack.apis[0]!.kill('SIGKILL')
    expect((await waitForJob(url, id)).status).toBe('completed')
    await receiver.got(before + 1)
  }
  await goesThrough('late', url)
  await redis.flushall()
  await goesThrough('after it was emptied', dying)
  await expect.poll(() => redis.smembers('test:tenants')).toEqual(['default'])

  await createBulk(url, [chat('one'), chat('other')])
  await expect.poll(async () => (await stack.simulator.state()).in_flight, { timeout: 10_000 }).toBe(2)
  await server.stop()
  const prompt = { code: 0, isPrompt: true }
  expect(await Promise.all([end(stack.workers[0]!), end(stack.apis[1]!)])).toEqual([prompt, prompt])
  // The results of the calls that were under way.
  expect((await readdir(stack.spool)).filter((name) => name.endsWith('.json'))).toHaveLength(2)
}, 90_000)

test.concurrent('a Redis that evicts gets no new work, one behind a connection that died silently is found again, and neither needs a restart', async (context) => {
  const { expect, onTestFinished } = context
  const server = await openServer(context)
  await server.start('--maxmemory-policy', 'allkeys-lru')
  const relay = await startRelay(server.url)
  onTestFinished(relay.close)
  const stack = await startStack({ redis: { url: routeThrough(relay, server.url), prefix: 'test' } })
  onTestFinished(async () => void (await stack.stop()))
  const url = stack.urls[0]!
  const redis = new Redis(server.url)
  redis.on('error', () => {}) // it goes before this does
  onTestFinished(() => redis.disconnect())
  expect(await askReadiness(url)).toMatchObject({
    status: 503,
    text: expect.stringMatching(/maxmemory-policy is allkeys-lru.*noeviction/),
  })
  const refused = await post(url, '/v1/jobs', chat('not to be lost'))
  expect(refused.status).toBe(503)
  expect(await refused.text()).toContain('noeviction')
  await stack.workers[0]!.waitForOutput(/"fault":"unfit"/)

  await redis.config('SET', 'maxmemory-policy', 'noeviction')
  await expect.poll(() => askReadiness(url), { timeout: 10_000 }).toMatchObject({ status: 200 })
  const { id } = await createJob(url, chat('kept'))
  expect((await waitForJob(url, id)).status).toBe('completed')

  relay.swallow()
  const begun = performance.now()
  const tryJob = async () => (await post(url, '/v1/jobs', chat('behind it'))).status
  await expect.poll(tryJob, { timeout: 20_000, interval: 200 }).toBe(202)
  const { id: after } = await createJob(url, chat('and another'))
  await expect.poll(async () => (await getJob(url, after)).status, { timeout: 20_000 }).toBe('completed')
  expect(performance.now() - begun).toBeLessThan(20_000)
}, 90_000)
