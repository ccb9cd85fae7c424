import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { onTestFinished } from 'vitest'
import { type ConfigInput, configSchema } from '../../../config/schema.ts'
import { createLiveConfig } from '../../../config/watch.ts'
import type { Attempt, Job } from '../../../jobs/job.ts'
import { tenantRoot } from '../../../jobs/keys.ts'
import { ALONE, createScripts } from '../../../jobs/scripts.ts'
import { createTenantStatsReader } from '../../../jobs/tenant-stats.ts'
import { closeRedis, createRedis, type RedisClient } from '../../../lib/redis.ts'
import { openApi, openWorker } from '../../../services.ts'
import { acmeKey } from '../../helpers/api.ts'
import { type ReadEvent, readStream } from '../../helpers/event-stream.ts'
import { testRedis } from '../../helpers/redis.ts'
import { placeService } from '../../helpers/service.ts'
import { startUpstream, type Upstream } from '../../helpers/upstream.ts'

type Kind = 'openai' | 'openai-compatible' | 'anthropic' | 'gemini'

export type BudgetHouse = {
  url: string
  upstream: Upstream
  redis: RedisClient
  /** Of the keys of the tenant. */
  root: string
  post(path: string, body: unknown, signal?: AbortSignal): Promise<Response>
  /** Submits a chat to the lane `own/chat`, and answers the created job. */
  submit(content: string, body?: object, members?: object): Promise<Job>
  get<Answer>(path: string): Promise<Answer>
  put(path: string, body: unknown): Promise<Response>
  remove(path: string): Promise<Response>
  /** The next `count` events of the tenant. */
  events(query: string, count: number): Promise<ReadEvent[]>
  ended(id: string): Promise<Job>
  attempts(id: string): Promise<Attempt[]>
  /** USD: the spending of this day, and what is reserved for open jobs. */
  money(): Promise<{ spent: number; reserved: number }>
}

/** API and worker over a provider that a test scripts. */
export async function openBudgetHouse(options: {
  budget?: number
  kind?: Kind
  price?: { input: number; output: number }
  model?: object
  provider?: object
  /** More limits of the tenant. */
  limits?: object
  webhooks?: object
  /** Settings for all budgets. */
  rules?: object
}): Promise<BudgetHouse> {
  const folder = await mkdtemp(join(tmpdir(), 'budget-'))
  const upstream = await startUpstream()
  const place = testRedis()
  const price = options.price ?? { input: 1, output: 10 }
  const shared = { api_key: 'a-key-for-tests', timeout: '5s', retry: { max_attempts: 1 } }
  const config = configSchema.parse({
    ...placeService(place),
    providers: {
      own: {
        kind: options.kind ?? 'openai-compatible',
        base_url: upstream.url,
        ...shared,
        models: { chat: { price, ...options.model } },
        ...options.provider,
      },
    },
    tenants: {
      acme: {
        keys: [acmeKey],
        admin: true,
        limits: {
          ...(options.budget === undefined ? {} : { budget_usd_per_day: options.budget }),
          ...options.limits,
        },
      },
    },
    worker: { spool: join(folder, 'spool') },
    ...(options.webhooks === undefined ? {} : { webhooks: options.webhooks }),
    ...(options.rules === undefined ? {} : { budgets: options.rules }),
  } as ConfigInput)
  const deps = { config: createLiveConfig(config), log: pino({ level: 'silent' }), version: '0.0.0-test' }
  const worker = await openWorker(deps)
  const api = await openApi(deps)
  const redis = createRedis({ ...place, role: 'commands', name: 'test' })
  onTestFinished(async () => {
    await api.close()
    await upstream.close()
    await worker.close()
    await closeRedis(redis)
    await rm(folder, { recursive: true, force: true })
  })
  const { prefix } = place
  const tenantStats = createTenantStatsReader({
    redis,
    scripts: createScripts(redis, ALONE),
    prefix,
    retainMs: () => 60_000,
  })
  const headers = { authorization: `Bearer ${acmeKey}` }
  const get = async <Answer>(path: string) => {
    const response = await fetch(api.url + path, { headers })
    return (await response.json()) as Answer
  }
  const post = (path: string, body: unknown, signal?: AbortSignal) =>
    fetch(api.url + path, {
      method: 'POST',
      headers: {
        ...headers,
        'content-type': typeof body === 'string' ? 'application/x-ndjson' : 'application/json',
      },
      body: typeof body === 'string' ? body : JSON.stringify(body),
      ...(signal ? { signal } : {}),
    })
  return {
    url: api.url!,
    upstream,
    redis,
    root: tenantRoot(place.prefix, 'acme'),
    post,
    get,
    put: (path, body) =>
      fetch(api.url + path, {
        method: 'PUT',
        headers: { ...headers, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      }),
    remove: (path) => fetch(api.url + path, { method: 'DELETE', headers }),
    async events(query, count) {
      const stream = await readStream(`${api.url}/v1/events?${query}`, { headers })
      const events = await stream.take(count)
      stream.close()
      return events
    },
    async submit(content, body = {}, members = {}) {
      const chat = { model: 'own/chat', messages: [{ role: 'user', content }], ...body }
      return (await (await post('/v1/jobs', { type: 'chat', body: chat, ...members })).json()) as Job
    },
    ended: (id) => get<Job>(`/v1/jobs/${id}?wait=20`),
    attempts: async (id) => (await get<{ data: Attempt[] }>(`/v1/jobs/${id}/attempts`)).data,
    async money() {
      const [stats] = await tenantStats.read(['acme'])
      return { spent: stats!.spentUsd, reserved: stats!.reservedUsd }
    },
  }
}
