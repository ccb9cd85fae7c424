import { Writable } from 'node:stream'
import { pino } from 'pino'
import { expect, onTestFinished } from 'vitest'
import { type ConfigInput, configSchema } from '../../../config/schema.ts'
import { createLiveConfig, type LiveConfig } from '../../../config/watch.ts'
import { openApi, openWorker } from '../../../services.ts'
import { createSimulator } from '../../../simulator/simulator.ts'
import { acmeKey, opsKey, testTenants } from '../../helpers/api.ts'
import { startReceiver, WEBHOOK_SECRET } from '../webhooks/receiver.ts'

export type House = {
  url: string
  config: LiveConfig
  /** The log of both roles, down to trace. */
  log(): string
  call(method: string, path: string, body?: unknown, key?: string): Promise<{ status: number; body: Answer }>
}

export type Answer = { id: string; status: string; data: { id: string; status: string }[] }

/** API and worker as the processes open them, a provider and a receiver of webhooks. Closed with the test. */
export async function openHouse(redis: ConfigInput['redis']): Promise<House> {
  const simulator = createSimulator({ latencyMs: 5 })
  const base = await simulator.listen(0, '127.0.0.1')
  onTestFinished(() => simulator.close())
  const config = createLiveConfig(
    configSchema.parse({
      server: { host: '127.0.0.1', port: 0 },
      redis,
      providers: {
        sim: {
          kind: 'openai-compatible',
          base_url: `${base}/v1`,
          limits: { requests_per_minute: 60_000, tokens_per_minute: 6_000_000 },
          retry: { max_attempts: 3, base: '10ms', cap: '50ms' },
          models: {
            chat: { price: { input: 1, output: 2 } },
            embed: { coalesce: { max_inputs: 16, max_tokens: 10_000, max_wait: '20ms' } },
          },
        },
      },
      redrive: [{ error_codes: ['deadline_exceeded'], after: '1s', max_times: 1 }],
      tenants: {
        ...testTenants,
        acme: { keys: [acmeKey], limits: { requests_per_minute: 10_000, budget_usd_per_day: 1_000 } },
      },
      webhooks: { secret: WEBHOOK_SECRET, allow_private_addresses: true, schedule: ['0ms', '10ms'] },
    } satisfies ConfigInput),
  )
  let written = ''
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      written += chunk
      done()
    },
  })
  const log = pino({ level: 'trace' }, sink)
  const worker = await openWorker({ config, log, version: '0.0.0-test' })
  onTestFinished(worker.close)
  const api = await openApi({ config, log, version: '0.0.0-test' })
  onTestFinished(api.close)
  return {
    url: api.url!,
    config,
    log: () => written,
    async call(method, path, body, key = acmeKey) {
      const response = await fetch(api.url + path, {
        method,
        headers: {
          authorization: `Bearer ${key}`,
          connection: 'close',
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      const text = await response.text()
      return { status: response.status, body: text.startsWith('{') ? JSON.parse(text) : text }
    },
  }
}

const chat = (text: string, members: object = {}, body: object = {}) => ({
  type: 'chat',
  body: { model: 'sim/chat', messages: [{ role: 'user', content: text }], ...body },
  ...members,
})

/** Asks for a little of everything that the service does, and waits until it is done. */
export async function exercise({ call }: House): Promise<void> {
  const receiver = await startReceiver()
  onTestFinished(() => receiver.close())
  const submit = async (job: object) => {
    const { status, body } = await call('POST', '/v1/jobs', job)
    expect(status, JSON.stringify(body)).toBeLessThan(300)
    return body.id
  }
  const finish = async (id: string) => (await call('GET', `/v1/jobs/${id}?wait=20`)).body.status
  const webhook = { url: receiver.url }

  const streamed = await submit(
    chat('stream', { group: 'all', webhook, metadata: { a: 'b' } }, { stream: true }),
  )
  expect(await finish(streamed)).toBe('completed')
  await call('GET', `/v1/jobs/${streamed}/events`)
  expect(await finish(await submit(chat('stream', { group: 'all' }, { stream: true })))).toBe('completed')

  const failed = await submit(chat('[[fault:400]]', { group: 'all', webhook }))
  expect(await finish(failed)).toBe('failed')
  await call('GET', `/v1/jobs/${failed}/attempts`)
  await call('POST', `/v1/jobs/${failed}/retry`)
  await finish(failed)
  await call('GET', '/v1/failures')
  const exported = await call('GET', '/v1/failures/export?group=all')
  expect(exported.body).toMatchObject({ job: { id: failed } })
  await call('POST', '/v1/jobs/retry', { group: 'all' })

  const slow = '[[fault:slow:ms=1000]]'
  const running = await submit(chat(slow, { cache: 'off' }))
  const leader = await submit(chat(`${slow} shared`))
  const follower = await submit(chat(`${slow} shared`))
  const limited = await submit(chat('[[fault:429:times=1:retry_after=50]]'))
  const retried = await submit(chat('[[fault:500:times=1]]'))
  const later = await submit(
    chat('later', { delay_ms: 300, deadline: new Date(Date.now() + 60_000).toISOString() }),
  )
  const never = await submit(chat('never', { delay_ms: 60_000 }))
  const expired = await submit(
    chat('too late', { delay_ms: 1, deadline: new Date(Date.now() + 60_000).toISOString() }),
  )
  const embeddings = await Promise.all(
    ['a', 'b', 'c'].map((input) => submit({ type: 'embedding', body: { model: 'sim/embed', input } })),
  )
  await call('POST', `/v1/jobs/${running}/cancel`)
  await call('POST', `/v1/jobs/${never}/cancel`)
  await call('DELETE', `/v1/jobs/${leader}`)
  for (const id of [follower, limited, retried, later, expired, ...embeddings])
    expect(await finish(id)).toBe('completed')

  await call('POST', '/v1/jobs/bulk', [chat('one'), chat('two'), chat('two')])
  await call('POST', '/v1/chat/completions', chat('by the door').body)
  for (const path of [
    '/v1/jobs?status=completed&limit=2',
    '/v1/jobs?group=all',
    '/v1/groups/all',
    '/v1/groups?limit=1',
    '/v1/models',
    `/v1/jobs/${failed}/request`,
  ]) {
    expect((await call('GET', path)).status, path).toBe(200)
  }
  for (const path of ['/v1/lanes', '/v1/tenants', '/v1/overview']) {
    expect((await call('GET', path, undefined, opsKey)).status, path).toBe(200)
  }
  await call('POST', '/v1/lanes/sim/chat/pause', undefined, opsKey)
  await call('POST', '/v1/lanes/sim/chat/resume', undefined, opsKey)
  expect((await call('GET', '/readyz')).status).toBe(200)

  await receiver.got(2)
  const [delivery] = (await call('GET', `/v1/jobs/${streamed}/deliveries`)).body.data
  await call('POST', `/v1/deliveries/${delivery!.id}/redeliver`)
  await receiver.got(3)
  expect((await call('DELETE', `/v1/jobs/${streamed}`)).status).toBe(200)
  // The sweeper has run.
  await new Promise((resolve) => setTimeout(resolve, 1_500))
}
