import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createRedis, type RedisClient } from '../../lib/redis.ts'
import { dumpRedis } from '../helpers/dump.ts'
import { testRedis } from '../helpers/redis.ts'
import { chat, type Stack, startStack } from '../helpers/stack.ts'
import { startReceiver } from '../integration/webhooks/receiver.ts'

const canary = (what: string) => `canary-${what}-5f1c9b7e3d2a`
const keys = { first: canary('first-key'), second: canary('second-key'), ops: canary('ops-key') }
const secret = canary('webhook-secret')
/** The stack's own key; the access to Redis has none here. */
const providerKey = 'a-key-for-tests'
const secrets = [...Object.values(keys), secret, providerKey]

let stack: Stack
let redis: RedisClient
let receiver: Awaited<ReturnType<typeof startReceiver>>

beforeAll(async () => {
  receiver = await startReceiver((_received, index, response) => {
    response.writeHead(index % 2 === 0 ? 500 : 204).end()
  })
  stack = await startStack({
    apis: 2,
    simulator: ['--latency', '20'],
    workerEnv: { WORKER_PORT: '0' },
    extra: `
log: { level: trace }
webhooks: { secret: ${secret}, allow_private_addresses: true, schedule: [0ms, 20ms] }
tenants:
  acme: { keys: [${keys.first}, ${keys.second}] }
  ops: { keys: [${keys.ops}], admin: true }
`,
  })
  redis = createRedis({ ...testRedis(), role: 'commands', name: 'test-thief' })
})

afterAll(async () => {
  redis?.disconnect()
  await receiver?.close()
  expect(await stack?.stop()).toEqual([0, 0, 0, 0])
})

type Called = { status: number; text: string; headers: Headers }

async function call(
  method: string,
  path: string,
  options: { key?: string; body?: unknown; at?: number } = {},
) {
  const { key = keys.first, body, at = 0 } = options
  const response = await fetch(stack.urls[at]! + path, {
    method,
    headers: {
      authorization: `Bearer ${key}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
  return { status: response.status, headers: response.headers, text: await response.text() } satisfies Called
}

describe('what only its owner may read', () => {
  const prompt = canary('prompt')
  /** Long enough to be kept compressed. */
  const longPrompt = `${prompt} ${'lorem ipsum '.repeat(1_000)}`
  const webhook = () => ({ url: receiver.url })

  test('is in no log down to trace and in no error, on any failure, and nowhere in Redis once deleted', async () => {
    const refused: Called[] = []
    const refuse = async (...request: Parameters<typeof call>) => {
      const answer = await call(...request)
      expect(answer.status, answer.text).toBeGreaterThanOrEqual(400)
      refused.push(answer)
    }
    const ids: string[] = []
    const submit = async (text: string, members: Record<string, unknown> = {}, body: object = {}) => {
      const { status, text: answer } = await call('POST', '/v1/jobs', { body: chat(text, members, body) })
      expect(status, answer).toBeLessThan(300)
      ids.push(JSON.parse(answer).id)
    }
    await submit(prompt, { webhook: webhook(), group: 'g' })
    await submit(longPrompt, { webhook: webhook(), metadata: { note: prompt } })
    await submit(`${prompt} streamed`, {}, { stream: true })
    for (const fault of [
      '400',
      '401',
      '429:times=1:retry_after=20',
      '500:times=1',
      'garbage:times=1',
      'reset_after:times=1',
      'quota',
      'error_in_200:times=1',
    ]) {
      await submit(`${prompt} [[fault:${fault}]]`, { webhook: webhook(), max_attempts: 2 })
    }
    await refuse('POST', '/v1/jobs', { body: `{"type":"chat","body":"${prompt}` })
    await refuse('POST', '/v1/jobs', { body: chat(prompt, { priority: prompt }) })
    await refuse('POST', '/v1/jobs', { body: chat(prompt, {}, { model: 'nobody/none' }) })
    await refuse('POST', '/v1/jobs', {
      body: { type: 'chat', body: { model: 'sim/chat', messages: prompt } },
    })
    await refuse('POST', '/v1/jobs', { body: chat(prompt, { webhook: { url: `ftp://${prompt}` } }) })
    await refuse('POST', '/v1/chat/completions', { body: chat(`${prompt} [[fault:400]] by the door`).body })
    await refuse('POST', '/v1/jobs', { body: chat(prompt), key: `${canary('wrong-key')}` })
    await refuse('GET', `/v1/jobs/${prompt}`)
    // A path that does not exist is named in the answer, without its query.
    await refuse('GET', `/v1/nowhere?key=${keys.first}&prompt=${prompt}`)
    await refuse('GET', '/v1/lanes')
    for (const id of ids) {
      const { text } = await call('GET', `/v1/jobs/${id}?wait=20`)
      const job = JSON.parse(text)
      expect(['completed', 'failed'], text).toContain(job.status)
      const attempts = await call('GET', `/v1/jobs/${id}/attempts`)
      refused.push({ ...attempts, text: `${attempts.text} ${JSON.stringify(job.error)}` })
      const deliveries = await call('GET', `/v1/jobs/${id}/deliveries`)
      expect(findIn(deliveries.text, secrets)).toEqual([])
    }
    await receiver.got(8)

    expect(refused.length).toBeGreaterThan(15)
    for (const { text, headers } of refused) {
      expect(findIn(`${text} ${[...headers]}`, [prompt, canary('wrong-key'), ...secrets]), text).toEqual([])
    }
    const listens = await stack.workers[0]!.waitForOutput(/"url":"(http:[^"]+)","msg":"the worker listens"/)
    const scraped = [
      (await call('GET', '/metrics', { key: keys.ops })).text,
      (await call('GET', '/metrics', { key: keys.ops, at: 1 })).text,
      await (await fetch(`${listens[1]}/metrics`)).text(),
    ]
    expect(scraped.join('\n')).toMatch(/^sluice_provider_calls_total\{.*status="400"\} \d+$/m)
    for (const text of scraped) {
      expect(text).toMatch(/^sluice_redis_commands_total\{/m)
      expect(text).toMatch(/^sluice_event_loop_delay_seconds\{quantile="0.99"\} \d/m)
      expect(text).toMatch(/^process_cpu_seconds_total \d/m)
      expect(findIn(text, [prompt, canary('wrong-key'), ...secrets, ...ids, receiver.url])).toEqual([])
    }
    const log = stack.output()
    // There is something to search: calls and answers are logged at this level.
    expect(log.match(/"msg":"(?:provider call|answered)"/g)?.length).toBeGreaterThan(20)
    expect(findIn(log, [prompt, canary('wrong-key'), ...secrets])).toEqual([])
    for (const { headers, body } of receiver.received) {
      expect(findIn(`${JSON.stringify(headers)} ${body}`, secrets)).toEqual([])
    }

    const before = await dumpRedis(redis, stack.prefix)
    expect(before.plain).toContain(prompt)
    expect(before.unpacked).toContain(prompt)
    const listed = JSON.parse((await call('GET', '/v1/jobs?limit=1000')).text) as { data: { id: string }[] }
    for (const { id } of listed.data) expect((await call('DELETE', `/v1/jobs/${id}`)).status).toBe(200)
    const after = await dumpRedis(redis, stack.prefix)
    expect(findIn(`${after.plain} ${after.unpacked}`, [prompt, 'lorem ipsum'])).toEqual([])
    expect(findIn(`${after.plain} ${after.unpacked}`, secrets)).toEqual([])
  }, 60_000)
})

test('a key that is taken out of the file is refused by every process within 5 s, its streams end, and the others serve on', async () => {
  const { text } = await call('POST', '/v1/jobs', { body: chat('later', { delay_ms: 60_000 }) })
  const events = `/v1/jobs/${JSON.parse(text).id}/events`
  const stream = call('GET', events, { at: 1 })
  expect((await call('GET', '/v1/jobs', { key: keys.second })).status).toBe(200)

  const changedAt = performance.now()
  await stack.rewriteConfig((config) => config.replace(keys.first, canary('third-key')))
  for (const at of [0, 1]) {
    while ((await call('GET', '/v1/jobs', { at })).status !== 401) {
      expect(performance.now() - changedAt).toBeLessThan(5_000)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    expect((await call('GET', '/v1/jobs', { at, key: keys.second })).status).toBe(200)
    expect((await call('GET', '/v1/jobs', { at, key: canary('third-key') })).status).toBe(200)
  }
  expect((await stream).text).toContain('event: job.queued')
  expect(performance.now() - changedAt).toBeLessThan(5_000)
})

test('a weak key is reported by its place, not by its text', async () => {
  const weak = 'weak-key-0123456'
  await stack.rewriteConfig((config) => config.replace(keys.ops, weak))
  await stack.workers[0]!.waitForOutput(/"keys":\["tenants\.ops\.keys\[0\]"\]/)
  expect(findIn(stack.output(), [weak])).toEqual([])
})

function findIn(text: string, needles: string[]): string[] {
  return needles.filter((needle) => text.includes(needle))
}
