import { Writable } from 'node:stream'
import { pino } from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import { type ConfigInput, configSchema } from '../../../config/schema.ts'
import { createLiveConfig } from '../../../config/watch.ts'
import type { Job } from '../../../jobs/job.ts'
import { openApi, openWorker } from '../../../services.ts'
import { createMetrics } from '../../../telemetry/metrics.ts'
import { acmeKey, opsKey, testTenants } from '../../helpers/api.ts'
import { parseSamples, type Sample } from '../../helpers/metrics.ts'
import { startTestRedis, testRedis, toConfig } from '../../helpers/redis.ts'
import { until } from '../../helpers/store.ts'
import {
  answer,
  chunk,
  completion,
  openEvents,
  startUpstream,
  type Upstream,
} from '../../helpers/upstream.ts'
import { startReceiver, WEBHOOK_SECRET } from '../webhooks/receiver.ts'

/** A configuration with a chat and an embedding lane at this provider. */
function parseConfig(baseUrl: string, members: Partial<ConfigInput> = {}) {
  return configSchema.parse({
    server: { host: '127.0.0.1', port: 0 },
    redis: toConfig(testRedis()),
    providers: {
      own: {
        kind: 'openai-compatible',
        base_url: baseUrl,
        models: {
          chat: { price: { input: 1, output: 2 } },
          embed: { price: { input: 1 }, coalesce: { max_inputs: 16, max_wait: '300ms' } },
        },
      },
    },
    ...members,
  } satisfies ConfigInput)
}

/** A log whose lines a test can read. */
function openLog() {
  const lines: Record<string, unknown>[] = []
  const write = (chunk: Buffer, _encoding: string, done: () => void) => {
    lines.push(JSON.parse(chunk.toString()))
    done()
  }
  return { log: pino({ level: 'info' }, new Writable({ write })), lines }
}

async function openUpstream(): Promise<Upstream> {
  const upstream = await startUpstream()
  onTestFinished(() => upstream.close())
  return upstream
}

const chat = (content: string, members: object = {}) => ({
  type: 'chat',
  body: { model: 'own/chat', messages: [{ role: 'user', content }] },
  ...members,
})
const embed = (input: string[]) => ({ type: 'embedding', body: { model: 'own/embed', input } })

/** The value of the one series of this name that has these labels; undefined: there is none. */
function findValue(samples: Sample[], name: string, labels: Record<string, string> = {}): number | undefined {
  const found = samples.filter(
    (one) => one.name === name && Object.entries(labels).every(([key, value]) => one.labels[key] === value),
  )
  expect(found.length, `series of ${name} ${JSON.stringify(labels)}`).toBeLessThan(2)
  return found[0]?.value
}

test('after known work the numbers are exactly those of the work', async () => {
  const upstream = await openUpstream()
  const receiver = await startReceiver()
  onTestFinished(() => receiver.close())
  const release = Promise.withResolvers<void>()
  let isLimited = true
  upstream.script = async ({ path, body }, response) => {
    if (path.endsWith('/embeddings')) {
      const inputs = body.input as string[]
      const data = inputs.map((_, index) => ({ object: 'embedding', index, embedding: [index, 1] }))
      const usage = { prompt_tokens: 2 * inputs.length, total_tokens: 2 * inputs.length }
      return answer(response, 200, { object: 'list', model: 'embed', data, usage })
    }
    const { content } = (body.messages as { content: string }[])[0]!
    if (content === 'bad') return answer(response, 400, { error: { message: 'no', code: 'bad' } })
    if (content === 'limited' && isLimited) {
      isLimited = false
      response.setHeader('retry-after-ms', '20')
      return answer(response, 429, { error: { message: 'slow down', code: 'rate_limit_exceeded' } })
    }
    if (content === 'held') await release.promise
    if (!body.stream) return answer(response, 200, completion('Hello'))
    const events = openEvents(response)
    events.send(chunk({ role: 'assistant', content: 'Hel' }))
    events.send(chunk({ content: 'lo' }, 'stop'))
    const usage = { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 }
    events.send({ ...chunk({}), choices: [], usage })
    events.send('[DONE]')
    events.end()
  }
  const config = createLiveConfig(
    parseConfig(upstream.url, {
      webhooks: { secret: WEBHOOK_SECRET, allow_private_addresses: true, schedule: ['0ms'] },
    }),
  )
  const { log } = openLog()
  const metrics = createMetrics({ version: '1.2.3', now: Date.now, ofProcess: false })
  const deps = { config, log, version: '1.2.3', metrics }
  const worker = await openWorker(deps)
  onTestFinished(worker.close)
  const api = await openApi(deps)
  onTestFinished(api.close)
  const send = async (path: string, body: object) => {
    const headers = { 'content-type': 'application/json' }
    return fetch(api.url + path, { method: 'POST', headers, body: JSON.stringify(body) })
  }
  const submit = async (job: object) => (await (await send('/v1/jobs', job)).json()) as Job
  const finish = async ({ id }: Job) =>
    (await (await fetch(`${api.url}/v1/jobs/${id}?wait=20`)).json()) as Job

  const hook = { webhook: { url: receiver.url } }
  expect((await finish(await submit(chat('first', hook)))).status).toBe('completed')
  expect((await submit(chat('first'))).cache).toBe('hit')
  const held = await submit(chat('held'))
  await until(() => upstream.calls.length === 2)
  const sharing = await submit(chat('held'))
  expect(sharing.cache).toBe('shared')
  release.resolve()
  expect((await finish(held)).status).toBe('completed')
  expect((await finish(sharing)).status).toBe('completed')
  expect((await finish(await submit(chat('limited')))).status).toBe('completed')
  expect((await finish(await submit(chat('bad')))).status).toBe('failed')
  const streamed = await send('/v1/chat/completions', { ...chat('streamed').body, stream: true })
  expect(await streamed.text()).toContain('[DONE]')
  const bulk = (await (await send('/v1/jobs/bulk', [embed(['a', 'b']), embed(['c'])])).json()) as Job[]
  for (const job of bulk) expect((await finish(job)).status).toBe('completed')

  const scrape = async () => {
    const response = await fetch(`${api.url}/metrics`)
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
    return parseSamples(await response.text())
  }
  await receiver.got(1)
  // Booked when the store has it, which is after the receiver has it.
  await until(async () => findValue(await scrape(), 'sluice_webhook_delay_seconds_count') === 1)
  // The store is read once a second.
  await until(async () => findValue(await scrape(), 'sluice_jobs', { status: 'completed' }) === 8)
  const samples = await scrape()
  const told = (name: string, labels: Record<string, string> = {}) => findValue(samples, name, labels)

  expect(told('sluice_jobs_submitted_total', { type: 'chat', cache: 'miss' })).toBe(5)
  expect(told('sluice_jobs_submitted_total', { type: 'chat', cache: 'hit' })).toBe(1)
  expect(told('sluice_jobs_submitted_total', { type: 'chat', cache: 'shared' })).toBe(1)
  expect(told('sluice_jobs_submitted_total', { type: 'embedding', cache: 'miss' })).toBe(2)
  const ended = 'sluice_jobs_ended_total'
  expect(told(ended, { type: 'chat', status: 'completed' })).toBe(4)
  expect(told(ended, { type: 'chat', status: 'failed' })).toBe(1)
  expect(told(ended, { type: 'embedding', status: 'completed', source: 'call' })).toBe(2)
  expect(told('sluice_job_retries_total')).toBe(1)
  expect(told('sluice_job_retries_total', { reason: 'throttled' })).toBe(1)
  expect(told('sluice_job_wait_seconds_count', { lane: 'own/chat' })).toBe(6)
  expect(told('sluice_job_wait_seconds_count', { lane: 'own/embed' })).toBe(2)
  // Both waited 300 ms for other requests.
  expect(told('sluice_job_wait_seconds_sum', { lane: 'own/embed' })).toBeGreaterThan(0.5)

  const calls = 'sluice_provider_calls_total'
  expect(told(calls, { lane: 'own/chat', outcome: 'completed', status: '200' })).toBe(4)
  expect(told(calls, { lane: 'own/chat', outcome: 'throttled', status: '429' })).toBe(1)
  expect(told(calls, { lane: 'own/chat', outcome: 'failed', status: '400' })).toBe(1)
  expect(told(calls, { lane: 'own/embed', outcome: 'completed', status: '200' })).toBe(1)
  expect(told('sluice_provider_call_jobs_total', { lane: 'own/embed' })).toBe(2)
  expect(told('sluice_provider_call_inputs_total', { lane: 'own/embed' })).toBe(3)
  expect(told('sluice_provider_call_duration_seconds_count', { lane: 'own/chat' })).toBe(6)
  expect(told('sluice_provider_first_token_seconds_count')).toBe(1)
  expect(told('sluice_tokens_total', { lane: 'own/chat', direction: 'input' })).toBe(4 * 3)
  expect(told('sluice_tokens_total', { lane: 'own/chat', direction: 'output' })).toBe(4 * 4)
  expect(told('sluice_tokens_total', { lane: 'own/embed', direction: 'input' })).toBe(6)
  expect(told('sluice_cost_usd_total', { lane: 'own/chat', tenant: 'default' })).toBeCloseTo(44e-6, 12)
  expect(told('sluice_cost_usd_total', { lane: 'own/embed', tenant: 'default' })).toBeCloseTo(6e-6, 12)

  expect(told('sluice_jobs', { tenant: 'default', status: 'failed' })).toBe(1)
  expect(told('sluice_jobs', { status: 'queued' })).toBe(0)
  expect(told('sluice_lane_backlog', { lane: 'own/chat', state: 'waiting' })).toBe(0)
  expect(told('sluice_lane_in_flight', { lane: 'own/chat' })).toBe(0)
  expect(told('sluice_store_up')).toBe(1)
  expect(told('sluice_webhook_attempts_total', { outcome: 'delivered' })).toBe(1)
  expect(told('sluice_webhooks_pending')).toBe(0)
  const requests = 'sluice_http_requests_total'
  expect(told(requests, { method: 'POST', route: '/v1/jobs', status: '2xx' })).toBe(6)
  expect(told(requests, { method: 'POST', route: '/v1/chat/completions', status: '2xx' })).toBe(1)
  expect(told(requests, { method: 'GET', route: '/v1/jobs/:id', status: '2xx' })).toBe(7)
  expect(told('sluice_event_streams_open')).toBe(0)
  expect(told('sluice_worker_healthy')).toBe(1)
  const commands = told('sluice_redis_commands_total', { connection: 'commands' })!
  expect(commands).toBeGreaterThan(50)
  expect(told('sluice_redis_round_trips_total', { connection: 'commands' })).toBeLessThanOrEqual(commands)
  expect(told('sluice_redis_command_seconds_total', { connection: 'commands' })).toBeGreaterThan(0)
  expect(told('sluice_redis_commands_total', { connection: 'bullmq' })).toBeGreaterThan(10)
})

test('only an administrator may read the metrics of the API', async () => {
  const config = createLiveConfig(parseConfig('http://127.0.0.1:9/v1', { tenants: testTenants }))
  const api = await openApi({ config, log: openLog().log, version: '1.2.3' })
  onTestFinished(api.close)
  const ask = (key?: string) =>
    fetch(`${api.url}/metrics`, { headers: key === undefined ? {} : { authorization: `Bearer ${key}` } })
  expect((await ask()).status).toBe(401)
  expect((await ask(acmeKey)).status).toBe(403)
  const answered = await ask(opsKey)
  expect(answered.status).toBe(200)
  const samples = parseSamples(await answered.text())
  expect(findValue(samples, 'sluice_http_requests_total', { route: '/metrics', status: '4xx' })).toBe(2)
  // No worker is here.
  expect(findValue(samples, 'sluice_worker_healthy')).toBeUndefined()
})

test('while Redis is silent the API answers a scrape within 3 s and says so, and a worker reports that it is not ready', async () => {
  const redis = await startTestRedis()
  onTestFinished(() => redis.close())
  const config = createLiveConfig(
    parseConfig('http://127.0.0.1:9/v1', {
      redis: { url: redis.url },
      worker: { listen: { port: 0 } },
    }),
  )
  const { log, lines } = openLog()
  const deps = { config, log, version: '1.2.3' }
  const worker = await openWorker(deps)
  onTestFinished(worker.close)
  const api = await openApi(deps)
  onTestFinished(api.close)
  const port = lines.find(({ msg }) => msg === 'the worker listens')?.url
  const up = async () =>
    findValue(parseSamples(await (await fetch(`${api.url}/metrics`)).text()), 'sluice_store_up')
  expect(port).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
  expect(await up()).toBe(1)
  expect((await fetch(`${port}/readyz`)).status).toBe(200)

  process.kill(redis.pid, 'SIGSTOP')
  try {
    const scrapes: { answer: number | undefined; ms: number }[] = []
    // The last reading is used for a second.
    await until(async () => scrapes[scrapes.push(await timed(up)) - 1]!.answer === 0)
    const [ofWorker, ready] = await Promise.all([
      timed(async () => (await fetch(`${port}/metrics`)).text()),
      timed(() => fetch(`${port}/readyz`)),
    ])
    expect(ofWorker.answer).toContain('\nsluice_worker_healthy 1\n')
    expect(ready.answer.status).toBe(503)
    expect(await ready.answer.json()).toMatchObject({
      error: { code: 'unavailable', message: expect.stringMatching(/^redis: /) },
    })
    for (const { ms } of [...scrapes, ofWorker, ready]) expect(ms).toBeLessThan(3000)
  } finally {
    process.kill(redis.pid, 'SIGCONT')
  }
  await until(async () => (await up()) === 1)
  await until(async () => (await fetch(`${port}/readyz`)).ok)
})

test('the port of a worker answers health checks and metrics and nothing else, with any query and headers', async () => {
  const config = createLiveConfig(parseConfig('http://127.0.0.1:9/v1', { worker: { listen: { port: 0 } } }))
  const { log, lines } = openLog()
  const worker = await openWorker({ config, log, version: '1.2.3' })
  onTestFinished(worker.close)
  const port = lines.find(({ msg }) => msg === 'the worker listens')?.url
  const ask = async (path: string, init?: RequestInit) => {
    const response = await fetch(`${port}${path}`, init)
    return { status: response.status, text: await response.text() }
  }
  expect(await ask('/healthz')).toEqual({ status: 200, text: '{"status":"ok","version":"1.2.3"}' })
  expect((await ask('/readyz')).status).toBe(200)
  const { text } = await ask('/metrics?name=x', { headers: { authorization: 'Bearer whatever' } })
  expect(findValue(parseSamples(text), 'sluice_worker_healthy')).toBe(1)
  expect(findValue(parseSamples(text), 'sluice_spool_files', { state: 'waiting' })).toBe(0)
  // The API reports what all processes share.
  expect(findValue(parseSamples(text), 'sluice_store_up')).toBeUndefined()
  expect((await ask('/metrics', { method: 'HEAD' })).text).toBe('')
  expect((await ask('/metrics', { method: 'POST', body: 'x'.repeat(100_000) })).status).toBe(405)
  for (const path of ['/', '/v1/jobs', '/metrics/', '/constructor', '/../main.ts']) {
    expect((await ask(path)).status, path).toBe(404)
  }
})

test('a worker whose port is taken ends before it claims anything', async () => {
  const upstream = await openUpstream()
  const taken = Number(new URL(upstream.url).port)
  const config = createLiveConfig(parseConfig(upstream.url, { worker: { listen: { port: taken } } }))
  const deps = { config, log: openLog().log, version: '1.2.3' }
  const api = await openApi(deps)
  onTestFinished(api.close)
  const headers = { 'content-type': 'application/json' }
  const made = await fetch(`${api.url}/v1/jobs`, { method: 'POST', headers, body: JSON.stringify(chat('x')) })
  const { id } = (await made.json()) as Job
  await expect(openWorker(deps)).rejects.toThrow('the port is in use')
  const job = (await (await fetch(`${api.url}/v1/jobs/${id}`)).json()) as Job
  expect(job.status).toBe('queued')
  expect(job.attempts).toBe(0)
})

async function timed<T>(operation: () => Promise<T>): Promise<{ answer: T; ms: number }> {
  const startedAt = performance.now()
  return { answer: await operation(), ms: performance.now() - startedAt }
}
