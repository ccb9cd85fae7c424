import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { beforeAll, describe, it } from 'vitest'
import WebSocket from 'ws'
import { type ConfigInput, configSchema } from '../../../config/schema.ts'
import { createLiveConfig } from '../../../config/watch.ts'
import { tenantRoot } from '../../../jobs/keys.ts'
import type { JsonObject } from '../../../lib/json.ts'
import { closeRedis, createRedis, type RedisClient } from '../../../lib/redis.ts'
import { openApi, openWorker } from '../../../services.ts'
import { opsKey } from '../../helpers/api.ts'
import { keysOf, testRedis } from '../../helpers/redis.ts'
import { placeService } from '../../helpers/service.ts'
import { until } from '../../helpers/store.ts'
import { answer, completion, startUpstream, type Upstream } from '../../helpers/upstream.ts'

/** The cost of a call: 100 tokens of output at 10 USD a million. There is money for three. */
const EACH = 0.001
const USD = 3.5 * EACH
const CALLS = 3
const ASKED = 8

const budgets = [{ usd: USD, per: 'month', time_zone: 'Europe/Berlin' }]
const owners = ['tenant', 'day', 'key', 'fair key', 'group', 'flow', 'flow in all'] as const
type Owner = (typeof owners)[number]

type Cell = { owner: Owner; prompt: string; group?: string; fairKey?: string }
type Ask = (path: string, body: unknown, headers?: Record<string, string>) => Promise<Response>
const text = (cell: Cell, index: number) => `${cell.prompt} ${index}`
const chat = (cell: Cell, index: number | string) => ({
  model: 'own/chat',
  max_tokens: 100,
  messages: [{ role: 'user', content: `${cell.prompt} ${index}` }],
  ...(cell.fairKey === undefined ? {} : { user: cell.fairKey }),
})
const create = (cell: Cell, index: number | string) => ({
  type: 'chat',
  cache: 'off',
  body: chat(cell, index),
  ...(cell.group === undefined ? {} : { group: cell.group }),
})
const each = (start: (index: number) => unknown) =>
  Promise.all(Array.from({ length: ASKED }, (_, at) => start(at)))
const messages = (cell: Cell, index: number) => ({
  model: 'own/chat',
  max_tokens: 100,
  messages: [{ role: 'user', content: text(cell, index) }],
  ...(cell.fairKey === undefined ? {} : { metadata: { user_id: cell.fairKey } }),
})

const anyOwner: Owner[] = ['tenant', 'day', 'key', 'fair key']
/** Every way in, and the owners of the budgets against which such a job can count. */
const ways: Record<
  string,
  { of: Owner[]; start(ask: Ask, cell: Cell, url: string, key: string): Promise<unknown> }
> = {
  jobs: {
    of: [...anyOwner, 'group'],
    start: (ask, cell) => each((at) => ask('/v1/jobs', create(cell, at))),
  },
  bulk: {
    of: [...anyOwner, 'group'],
    start: (ask, cell) =>
      ask(
        '/v1/jobs/bulk',
        Array.from({ length: ASKED }, (_, at) => create(cell, at)),
      ),
  },
  socket: {
    of: [...anyOwner, 'group'],
    async start(_ask, cell, url, key) {
      const socket = new WebSocket(`${url.replace('http', 'ws')}/v1/ws`, {
        headers: { authorization: `Bearer ${key}` },
      })
      await new Promise((resolve) => socket.once('open', resolve))
      let answers = 0
      const done = new Promise<void>((resolve) => {
        socket.on('message', () => {
          if (++answers === ASKED) resolve()
        })
      })
      for (let at = 0; at < ASKED; at++)
        socket.send(JSON.stringify({ type: 'submit', id: String(at), job: create(cell, at) }))
      await done
      socket.close()
    },
  },
  'openai chat': {
    of: anyOwner,
    start: (ask, cell) => each((at) => ask('/v1/chat/completions', chat(cell, at))),
  },
  'openai responses': {
    of: anyOwner,
    start: (ask, cell) =>
      each((at) =>
        ask('/v1/responses', {
          model: 'own/chat',
          max_output_tokens: 100,
          input: text(cell, at),
          ...(cell.fairKey === undefined ? {} : { safety_identifier: cell.fairKey }),
        }),
      ),
  },
  'anthropic messages': {
    of: anyOwner,
    start: (ask, cell) => each((at) => ask('/v1/messages', messages(cell, at))),
  },
  durable: {
    of: [...anyOwner, 'group'],
    start: (ask, cell) =>
      each((at) =>
        ask(`PUT /v1/durable/${cell.prompt.replaceAll(/\W/g, '-')}/steps/s${at}`, { job: create(cell, at) }),
      ),
  },
  batches: {
    of: anyOwner,
    async start(ask, cell) {
      const lines = Array.from({ length: ASKED }, (_, at) =>
        JSON.stringify({
          custom_id: `${at}`,
          method: 'POST',
          url: '/v1/chat/completions',
          body: { ...chat(cell, at), model: 'plain/chat' },
        }),
      )
      const form = new FormData()
      form.set('purpose', 'batch')
      form.set('file', new Blob([lines.join('\n')]), 'lines.jsonl')
      const { id } = (await (await ask('/v1/files', form)).json()) as { id: string }
      const batch = { input_file_id: id, endpoint: '/v1/chat/completions', completion_window: '24h' }
      return ask('/v1/batches', batch)
    },
  },
  'provider batches': {
    of: [...anyOwner, 'group'],
    start: (ask, cell) =>
      each((at) => {
        const job = create(cell, at)
        return ask('/v1/jobs', { ...job, tier: 'batch', body: { ...job.body, model: 'gathered/chat' } })
      }),
  },
  'message batches': {
    of: anyOwner,
    start: (ask, cell) =>
      ask('/v1/messages/batches', {
        requests: Array.from({ length: ASKED }, (_, at) => ({
          custom_id: `${at}`,
          params: { ...messages(cell, at), model: 'plain/chat' },
        })),
      }),
  },
  flows: {
    of: [...owners],
    start: (ask, cell) =>
      ask('/v1/flows', {
        name: 'many',
        input: Array.from({ length: ASKED }, (_, at) => at),
        steps: {
          all: {
            for_each: '${{ input }}',
            job: create({ ...cell, prompt: cell.prompt }, '${{ item }}'),
            allow_failures: ASKED,
          },
        },
        ...(cell.owner === 'flow' ? { budgets } : {}),
        ...(cell.owner === 'flow in all' ? { budget_usd: USD } : {}),
      }),
  },
  schedules: {
    of: [...anyOwner, 'group'],
    start: (ask, cell) =>
      each((at) => {
        const starts_at = new Date(Date.now() + 300).toISOString()
        return ask('/v1/schedules', { every: '300d', starts_at, job: create(cell, at) })
      }),
  },
  'schedules of flows, run by hand': {
    of: [...anyOwner, 'group'],
    async start(ask, cell) {
      const flow = { name: 'one', steps: { one: { job: create(cell, '${{ input }}') } } }
      await each(async (at) => {
        const made = await ask('/v1/schedules', { cron: '0 0 1 1 *', flow: { ...flow, input: at } })
        const { id } = (await made.json()) as { id: string }
        return ask(`/v1/schedules/${id}/run`, {})
      })
    },
  },
  redrive: {
    of: [...anyOwner, 'group'],
    async start(ask, cell) {
      // Each fails at no cost, so that all are accepted; then all are queued again.
      await each(async (at) => {
        const made = await ask('/v1/jobs', { ...create(cell, `broken ${at}`), max_attempts: 1 })
        const { id } = (await made.json()) as { id?: string }
        if (id !== undefined) await ask(`GET /v1/jobs/${id}?wait=20`, undefined)
      })
      broken.delete(cell.prompt)
      await ask('/v1/jobs/retry', {})
      await each((at) => ask('/v1/jobs', create(cell, at)))
    },
  },
}
/** Bodies of calls that were answered, and paid for. */
const paid: string[] = []
/** Cells with failing calls. */
const broken = new Set<string>()

const cells = Object.entries(ways).flatMap(([way, { of }]) =>
  of.map((owner) => ({
    way,
    owner,
    name: `${way}, ${owner}`,
    tenant: `${way} ${owner}`.replaceAll(/\W+/g, '-'),
  })),
)

describe('a budget holds for every way in which jobs come in', () => {
  let url: string
  let upstream: Upstream
  let redis: RedisClient
  let prefix: string

  beforeAll(async () => {
    const folder = await mkdtemp(join(tmpdir(), 'ways-'))
    upstream = await startUpstream()
    upstream.script = (call, response) => {
      const prompt = JSON.stringify(call.body)
      if ([...broken].some((name) => prompt.includes(name)))
        return answer(response, 400, { error: { message: 'no' } })
      paid.push(prompt)
      const usage = { prompt_tokens: 0, completion_tokens: 100, total_tokens: 100 }
      if (call.path.endsWith('/responses'))
        return answer(response, 200, {
          ...{ id: 'resp_1', object: 'response', status: 'completed', model: 'm', created_at: 1 },
          output: [
            {
              id: 'msg_1',
              type: 'message',
              role: 'assistant',
              status: 'completed',
              content: [{ type: 'output_text', text: 'hi', annotations: [] }],
            },
          ],
          usage: { input_tokens: 0, output_tokens: 100, total_tokens: 100 },
        })
      return answer(response, 200, completion('hi', {}, { usage }))
    }
    const place = testRedis()
    prefix = place.prefix
    const provider = {
      base_url: upstream.url,
      api_key: 'a-key-for-tests',
      timeout: '5s',
      models: { chat: { price: { input: 0, output: 10 } } },
    }
    const config = configSchema.parse({
      ...placeService(place),
      providers: {
        own: { kind: 'openai', ...provider },
        // Lines of batches are called one by one: providers of this kind have no batches of their own.
        plain: { kind: 'openai-compatible', ...provider },
        gathered: {
          kind: 'openai',
          ...provider,
          models: { chat: { price: { input: 0, output: 10 }, tiers: { batch: { gather: '1h' } } } },
        },
      },
      tenants: {
        ops: { keys: [opsKey], admin: true },
        ...Object.fromEntries(
          cells
            .filter(({ owner }) => owner !== 'key')
            .map(({ owner, tenant }) => [
              tenant,
              {
                keys: [`key-of-${tenant}-0123456789`],
                ...(owner === 'tenant' ? { limits: { budgets } } : {}),
                ...(owner === 'day' ? { limits: { budget_usd_per_day: USD } } : {}),
                ...(owner === 'fair key' ? { per_fair_key: { budgets, budget_usd_per_day: 1 } } : {}),
              },
            ]),
        ),
      },
      worker: { spool: join(folder, 'spool') },
    } as ConfigInput)
    const deps = { config: createLiveConfig(config), log: pino({ level: 'silent' }), version: '0.0.0-test' }
    const worker = await openWorker(deps)
    const api = await openApi(deps)
    url = api.url!
    redis = createRedis({ ...place, role: 'commands', name: 'test' })
    await makeKeys()
    return async () => {
      await api.close()
      await worker.close()
      await upstream.close()
      await closeRedis(redis)
      await rm(folder, { recursive: true, force: true })
    }
  })

  const request = async (key: string, path: string, body: unknown, headers: Record<string, string> = {}) => {
    const [method, place] = path.startsWith('/') ? ['POST', path] : (path.split(' ') as [string, string])
    const isForm = body instanceof FormData
    return fetch(url + place, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        ...(isForm || body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: isForm ? body : JSON.stringify(body) }),
    })
  }

  const keys = new Map<string, string>()
  /** Tenants of the API, each with a key that has a budget; known to the processes within seconds. */
  async function makeKeys(): Promise<void> {
    const secrets = await Promise.all(
      cells.flatMap(async ({ owner, tenant }) => {
        if (owner !== 'key') return []
        await request(opsKey, '/v1/tenants', { name: tenant })
        const made = await request(opsKey, `/v1/tenants/${tenant}/keys`, { budgets })
        const { secret } = (await made.json()) as { secret: string }
        keys.set(tenant, secret)
        return [secret]
      }),
    )
    for (const secret of secrets.flat())
      while ((await request(secret, 'GET /v1/jobs?limit=1', undefined)).status !== 200)
        await new Promise((resolve) => setTimeout(resolve, 50))
  }

  const callsOf = (prompt: string) => paid.filter((text) => text.includes(prompt)).length

  /** USD: what all accounts of the cell's owner hold, and the spending of the day. */
  async function readSums(tenant: string): Promise<number[]> {
    const root = tenantRoot(prefix, tenant)
    const accounts = await keysOf(redis, `${root}:budget:*`)
    const sums = accounts.filter((key) => !key.endsWith(':events') && !key.includes(':budget:day:'))
    const figures = await Promise.all(sums.map((key) => redis.hmget(key, 'spent', 'reserved')))
    const ofDay = await keysOf(redis, `${root}:money:*`)
    const names = ofDay.filter((key) => !key.endsWith(':running'))
    const parts = await Promise.all(names.map((key) => redis.get(key)))
    const all = parts.reduce((sum, part) => sum + Number(part), 0)
    return [all, ...figures.map(([a, b]) => Number(a ?? 0) + Number(b ?? 0))].map((nano) => nano / 1e9)
  }

  it.concurrent.each(cells)('$name', { timeout: 60_000 }, async ({ way, owner, tenant }) => {
    const { expect } = await import('vitest')
    const plain = `key-of-${tenant}-0123456789`
    const key = keys.get(tenant) ?? plain
    const cell: Cell = {
      owner,
      prompt: `<${tenant}>`,
      ...(owner === 'group' ? { group: `night:${tenant}` } : {}),
      ...(owner === 'fair key' ? { fairKey: 'alice@example.com' } : {}),
    }
    if (way === 'redrive') broken.add(cell.prompt)
    if (owner === 'group') {
      const set = await request(plain, `PUT /v1/groups/${cell.group}/budget`, { usd: USD })
      expect(set.status).toBe(200)
    }
    const ask: Ask = (path, body, headers) => request(key, path, body as JsonObject, headers)
    await ways[way]!.start(ask, cell, url, key)
    const isGathered = way === 'provider batches'
    // A job that waits for its batch makes no call yet: what it may cost is reserved.
    const count = async () =>
      isGathered ? Math.max(...(await readSums(tenant))) / EACH : callsOf(cell.prompt)
    const least = owner === 'flow in all' ? 1 : CALLS
    await until(async () => (await count()) >= least, 20_000)
    await until(async () => Math.max(...(await readSums(tenant))) <= USD)
    const calls = callsOf(cell.prompt)
    // A flow that has spent its budget fails, and cancels its running jobs.
    if (owner === 'flow in all') expect(calls).toBeLessThanOrEqual(CALLS)
    else expect(calls).toBe(isGathered ? 0 : CALLS)
  })
})
