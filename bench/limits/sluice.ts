import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { request } from 'undici'
import { startEmbeddedRedis } from '../../embedded-redis/embedded-redis.ts'
import type { GroupSummary, Job } from '../../jobs/job.ts'
import { startChild } from '../child.ts'
import { type Call, chatBody, LIMITS } from './workload.ts'

/** Two tenants of the same weight. */
const KEYS = { noisy: 'key-of-the-noisy-tenant', quiet: 'key-of-the-quiet-tenant' }
export type Tenant = keyof typeof KEYS

/** A Sluice of its own: a Redis, an API process, and so many workers. */
export type Sluice = {
  /** Submits chat jobs for one model, in order, as a group. */
  submit(tenant: Tenant, group: string, model: string, calls: readonly OwnedCall[]): Promise<void>
  /** How many jobs of a group have ended. */
  countEnded(tenant: Tenant, group: string): Promise<number>
  /** All jobs of a group, in the order in which they came, when `count` of them have ended. */
  waitFor(tenant: Tenant, group: string, count: number): Promise<Job[]>
  /** All jobs of a group in their current state, in the order in which they came. */
  list(tenant: Tenant, group: string): Promise<Job[]>
  /** Bytes of its Redis that these keys use. */
  bytesOf(keys: RegExp): Promise<number>
  close(): Promise<void>
}

/** A call, and its fair key inside the tenant. */
export type OwnedCall = Call & { fairKey?: string }

export type SluiceOptions = {
  name: string
  upstreamUrl: string
  workers: number
  /** The provider's window, ms; `auto`: to be found out. */
  windowMs: number | 'auto'
  /** Lanes by name that only have a `max_concurrency`, instead of those that are configured for `LIMITS`. */
  concurrency?: Record<string, number | 'auto'>
  /** `LIMITS` are shared by all models of this pattern, and no model has limits of its own. */
  family?: string
  /** Limits of each fair key of both tenants. */
  perFairKey?: { max_running?: number; max_queued?: number; requests_per_minute?: number }
  /** The one model has these keys as its sources, each with this share of `LIMITS`. */
  sources?: { model: string; shares: Record<string, number> }
}

const POLL_MS = 100

/** Starts it in front of an upstream, configured for `LIMITS`; each model is a lane. */
export async function startSluice(options: SluiceOptions): Promise<Sluice> {
  const closers: (() => Promise<unknown>)[] = []
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer()
  }
  try {
    const folder = await mkdtemp(join(tmpdir(), 'sluice-limits-'))
    closers.push(() => rm(folder, { recursive: true, force: true }))
    const redis = await startEmbeddedRedis({ directory: join(folder, 'redis') })
    closers.push(() => redis.close())
    const path = join(folder, 'sluice.yaml')
    await writeFile(path, writeConfig(options))

    const start = async (name: string, role: 'api' | 'worker', ready: RegExp) => {
      const child = await startChild({
        name: `${options.name}-${name}`,
        args: [
          '--import',
          new URL('../serve-usage.ts', import.meta.url).href,
          fileURLToPath(new URL('../../main.ts', import.meta.url)),
          role,
          '--config',
          path,
        ],
        env: { REDIS_URL: redis.url, NODE_ENV: 'production' },
        ready,
        profile: null,
      })
      closers.push(child.close)
      return child
    }
    for (let number = 1; number <= options.workers; number++)
      await start(`worker-${number}`, 'worker', /"msg":"ready"/)
    const api = await start('api', 'api', /"url":"([^"]+)","msg":"ready"/)
    const bytesOf = (keys: RegExp) => measureKeys(redis.url, keys)
    return { ...createClient(api.match[1]!), bytesOf, close }
  } catch (error) {
    await close()
    throw error
  }
}

async function measureKeys(url: string, wanted: RegExp): Promise<number> {
  const redis = new Redis(url)
  try {
    const names: string[] = []
    for await (const page of redis.scanStream({ count: 1000 })) names.push(...(page as string[]))
    const sizes = names.filter((name) => wanted.test(name)).map((name) => redis.memory('USAGE', name))
    return (await Promise.all(sizes)).reduce<number>((sum, size) => sum + (size ?? 0), 0)
  } finally {
    redis.disconnect()
  }
}

function createClient(url: string): Omit<Sluice, 'close' | 'bytesOf'> {
  async function get<Answer>(tenant: Tenant, path: string): Promise<Answer> {
    const answer = await request(`${url}${path}`, { headers: { authorization: `Bearer ${KEYS[tenant]}` } })
    if (answer.statusCode !== 200)
      throw new Error(`${path}: ${answer.statusCode} ${await answer.body.text()}`)
    return (await answer.body.json()) as Answer
  }

  async function countEnded(tenant: Tenant, group: string): Promise<number> {
    const { counts } = await get<GroupSummary>(tenant, `/v1/groups/${group}`)
    return counts.completed + counts.failed + counts.cancelled
  }

  async function list(tenant: Tenant, group: string): Promise<Job[]> {
    const jobs: Job[] = []
    for (let after = ''; ; ) {
      const page = await get<{ data: Job[]; has_more: boolean; last_id: string | null }>(
        tenant,
        `/v1/jobs?group=${group}&limit=1000${after}`,
      )
      jobs.push(...page.data)
      if (!page.has_more) return jobs.reverse()
      after = `&after=${page.last_id}`
    }
  }

  return {
    countEnded,
    list,
    async submit(tenant, group, model, calls) {
      const lines = calls.map((call) =>
        JSON.stringify({
          ...{ type: 'chat', group, body: chatBody(`sim/${model}`, call) },
          ...(call.fairKey === undefined ? {} : { fair_key: call.fairKey }),
        }),
      )
      const answer = await request(`${url}/v1/jobs/bulk`, {
        method: 'POST',
        headers: { 'content-type': 'application/x-ndjson', authorization: `Bearer ${KEYS[tenant]}` },
        body: lines.join('\n'),
      })
      const answers = (await answer.body.text()).trim().split('\n')
      const bad = answers.find((line) => !line.includes('"id"'))
      if (answer.statusCode !== 200 || answers.length !== calls.length || bad !== undefined)
        throw new Error(`Sluice answered ${answer.statusCode} to ${calls.length} jobs: ${bad}`)
    },
    async waitFor(tenant, group, count) {
      while ((await countEnded(tenant, group)) < count) await sleep(POLL_MS)
      return list(tenant, group)
    },
  }
}

function listSources(shares: Record<string, number>) {
  return Object.entries(shares).map(([name, share]) => ({
    name,
    api_key: name,
    limits: {
      requests_per_minute: LIMITS.requests_per_minute * share,
      tokens_per_minute: LIMITS.tokens_per_minute * share,
    },
  }))
}

function writeConfig({
  upstreamUrl,
  windowMs,
  concurrency,
  family,
  sources,
  perFairKey = {},
}: SluiceOptions): string {
  const limits = concurrency || family || sources ? {} : LIMITS
  const shared = family ? { all: { models: [family], ...LIMITS } } : {}
  const models = concurrency
    ? Object.fromEntries(
        Object.entries(concurrency).map(([name, most]) => [name, { limits: { max_concurrency: most } }]),
      )
    : sources
      ? { [sources.model]: { sources: listSources(sources.shares) } }
      : { '*': {} }
  return `
server: { port: 0 }
redis: { url: "\${REDIS_URL}" }
providers:
  sim:
    kind: openai-compatible
    base_url: ${upstreamUrl}
    limits: ${JSON.stringify({ ...limits, window: windowMs === 'auto' ? 'auto' : `${windowMs}ms` })}
    shared_limits: ${JSON.stringify(shared)}
    models: ${JSON.stringify(models)}
tenants:
  noisy: { keys: [${KEYS.noisy}], per_fair_key: ${JSON.stringify(perFairKey)} }
  quiet: { keys: [${KEYS.quiet}], per_fair_key: ${JSON.stringify(perFairKey)} }
`
}
