import { randomUUID, randomUUIDv7 } from 'node:crypto'
import { onTestFinished } from 'vitest'
import type { Files } from '../../files/files.ts'
import { createHeldFiles, type HeldFiles } from '../../files/held-files.ts'
import { createFileStore } from '../../files/store.ts'
import type { AtRest } from '../../jobs/at-rest.ts'
import type { Claimed, Started } from '../../jobs/claim.ts'
import { createEmbeddingCache, type EmbeddingCache } from '../../jobs/embedding-cache.ts'
import type { AttemptEnd } from '../../jobs/finish.ts'
import type { Job, JobEvent, JobStatus } from '../../jobs/job.ts'
import type { Jobs } from '../../jobs/jobs.ts'
import { tenantOf, tenantRoot } from '../../jobs/keys.ts'
import type { LaneQueue } from '../../jobs/lane-queue.ts'
import { createMaintenance, type Maintenance } from '../../jobs/maintenance.ts'
import { createMemoryAdmission } from '../../jobs/memory-admission.ts'
import type { NewJob } from '../../jobs/new-job.ts'
import { createOutbox, type Outbox } from '../../jobs/outbox.ts'
import { createPromptPrefixes, type PromptPrefixes } from '../../jobs/prompt-prefixes.ts'
import { createPubSub, type PubSub } from '../../jobs/pubsub.ts'
import { createQueues, type Queues } from '../../jobs/queue.ts'
import { createQueueAdmission } from '../../jobs/queue-admission.ts'
import type { Held } from '../../jobs/queue-entry.ts'
import { createRetention, type Retention } from '../../jobs/retention.ts'
import { ALONE, createScripts, type Scripts } from '../../jobs/scripts.ts'
import { createJobs, type JobsDeps } from '../../jobs/service.ts'
import { createWork, type Retry, type Work } from '../../jobs/work.ts'
import { createIds } from '../../lib/job-id.ts'
import type { JsonObject } from '../../lib/json.ts'
import { closeRedis, createRedis, type RedisClient, type RedisRole } from '../../lib/redis.ts'
import { renderResult } from '../../providers/vectors.ts'
import { readGateFunction } from '../../ratelimit/scripts.ts'
import { createWebhookStore } from '../../webhooks/store.ts'
import { testAtRest, testSealer } from './encryption.ts'
import { keysOf, startTestRedis, type TestPlace, testRedis } from './redis.ts'

export const TENANT = 'acme'
export const LANE = 'sim/chat'

/** Parts of the job store that a test may replace. */
type JobDeps = Pick<JobsDeps, 'queues' | 'pubsub' | 'history' | 'newId' | 'now' | 'onError'> &
  Omit<JobsDeps['keyspace'], 'confirm' | 'rootOf'> &
  JobsDeps['dispatch']
type WorkDeps = Parameters<typeof createWork>[0]

export type TestStoreOptions = {
  /** A Redis of its own, never a cluster, for tests that break it. */
  own?: boolean
  /** Its place in Redis; the shared Redis by default. */
  place?: TestPlace
  stalledAfterMs?: number
  retainMs?: number
  cacheTtlMs?: number
  cacheMaxBytes?: number
  embeddingItems?: boolean
  /** What is encrypted; by default what the environment says. */
  atRest?: AtRest
}

export type TestStore = {
  redis: RedisClient
  url: string
  cluster?: string[]
  prefix: string
  /** The root of the keys of `TENANT`. */
  root: string
  scripts: Scripts
  atRest: AtRest
  queues: Queues
  outbox: Outbox
  pubsub: PubSub
  jobs: Jobs
  /** A second view of the same jobs, with some parts replaced. */
  openJobs(overrides: Partial<JobDeps>): Jobs
  work: Work
  openWork(overrides: Partial<WorkDeps>): Work
  embeddingCache: EmbeddingCache
  prefixes: PromptPrefixes
  maintenance: Maintenance
  retention: Retention
  files: Files
  heldFiles: HeldFiles
  /** Settings that a test may change at any time. */
  settings: { retainMs: number; cacheTtlMs: number; cacheMaxBytes: number }
  /** The worker's side of the test's own lane; opened at its first use. */
  lane(): LaneQueue
  /** Takes the next entry of the lane, as soon as there is one. */
  fetch(): Promise<Held>
  /** Takes the next entry and claims it. Its job must need a call. */
  start(): Promise<Running>
  /** Every key with its value as text: what a thief of the store would see. */
  dump(): Promise<string>
}

/** A job under way, as a worker holds it. */
export type Running = { held: Held; claimed: Claimed }

/** Opens the job store over a real Redis, as services.ts does; closed with the test. */
export async function openTestStore(options: TestStoreOptions = {}): Promise<TestStore> {
  const place = await findPlace(options)
  const { prefix } = place
  const connect = (role: RedisRole) => {
    const client = createRedis({ ...place, role, name: `test-${role}` })
    onTestFinished(() => closeRedis(client))
    return client
  }
  const redis = connect('commands')
  const pubsub = createPubSub({ subscriber: connect('subscriber') })
  const now = Date.now
  const queues = createQueues({
    connection: connect('bullmq'),
    prefix,
    stalledAfterMs: options.stalledAfterMs ?? 15_000,
    order: {
      place: async (_lane, entries) =>
        entries.map(({ priority }) => ({
          priority: { high: 1, normal: 2, low: 3 }[priority],
          start: 0,
          seconds: 0,
        })),
      served() {},
    },
  })
  const settings = {
    retainMs: options.retainMs ?? 60_000,
    cacheTtlMs: options.cacheTtlMs ?? 60_000,
    cacheMaxBytes: options.cacheMaxBytes ?? 1024 * 1024,
  }
  const retainMs = () => settings.retainMs
  const scripts = createScripts(redis, {
    ...ALONE,
    onReleased(root, ids) {
      for (const id of ids) outbox.dispatchById(tenantOf(prefix, root), id).catch(() => {})
    },
    gate: readGateFunction(),
  })
  const outbox = createOutbox({ redis, scripts, queues, prefix, now })
  onTestFinished(() => outbox.idle())
  const upkeep = { redis, scripts, outbox, prefix, retainMs, now, keepsHistory: false }
  const maintenance = createMaintenance(upkeep)
  await maintenance.register([TENANT])
  const retention = createRetention({
    scripts,
    outbox,
    prefix,
    tenants: maintenance.tenants,
    onError(error) {
      throw error
    },
  })
  const atRest = options.atRest ?? testAtRest()
  const root = (tenant: string) => tenantRoot(prefix, tenant)
  const files = createFileStore({
    ...{ redis, root },
    newId: createIds('file-', now),
    maxBytes: () => Number.POSITIVE_INFINITY,
    sealer: testSealer(),
    objects: null,
  })
  const heldFiles = createHeldFiles({ redis, files, root, now })
  const jobDeps: JobDeps = {
    ...{ redis, atRest, scripts, queues, outbox, pubsub, prefix, retainMs },
    // Forecasts need the limiter; here lanes have no state.
    forecaster: {
      entries: async (_lane, positions) => positions.map(() => ({ startAt: null, waitingFor: null })),
      newcomer: async () => ({ startAt: null, waitingFor: null }),
    },
    ...{ history: null, replyInbox: null, openLanes: null, planStart: null, dueTimers: null },
    newId: () => `job_${randomUUIDv7().replaceAll('-', '')}`,
    now,
    onError: (error) => {
      throw error
    },
  }
  const admission = {
    queue: createQueueAdmission({
      redis,
      prefix,
      tenants: maintenance.tenants,
      most: () => 1_000_000,
      now,
    }),
    memory: createMemoryAdmission({ redis, share: 0.7, now }),
  }
  const openJobs = (overrides: Partial<JobDeps> = {}) => {
    const { queues, pubsub, history, newId, now, onError, ...others } = { ...jobDeps, ...overrides }
    const { redis, scripts, prefix, atRest, retainMs, ...dispatch } = others
    return createJobs({
      keyspace: { ...{ redis, scripts, prefix, atRest, retainMs }, rootOf: root, confirm: null },
      ...{ admission, dispatch, queues, pubsub, history, newId, now, onError, events: null },
      render: renderResult,
      files: { describeInputs: async (job) => job, sweep: heldFiles.sweep },
      deliveries: createWebhookStore({ redis, root }),
    })
  }
  const jobs = openJobs()
  const workDeps = {
    redis,
    scripts,
    outbox,
    prefix,
    atRest,
    settings: () => settings,
    putFiles: heldFiles.put,
    now,
  } satisfies WorkDeps
  const work = createWork(workDeps)
  const embeddingCache = createEmbeddingCache({
    scripts,
    atRest,
    prefix,
    settings: () => ({
      isOn: options.embeddingItems ?? true,
      ttlMs: settings.cacheTtlMs,
      maxBytes: settings.cacheMaxBytes,
    }),
  })

  let laneQueue: LaneQueue | null = null
  function lane(): LaneQueue {
    if (!laneQueue) {
      const opened = queues.consume(LANE, { onStalled() {}, onError() {} })
      onTestFinished(() => opened.close())
      laneQueue = opened
    }
    return laneQueue
  }

  async function fetch(): Promise<Held> {
    const deadline = performance.now() + 5_000
    while (performance.now() < deadline) {
      const [held] = await lane().fetch(1)
      if (held) return held
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    throw new Error('no entry came to the lane within 5 s')
  }

  async function start(): Promise<Running> {
    const held = await fetch()
    const [started] = await work.start([held], intent)
    if (started?.kind !== 'run') throw new Error(`expected a job that wants a call, got ${started?.kind}`)
    return { held, claimed: started.claimed }
  }

  return {
    redis,
    ...place,
    root: tenantRoot(prefix, TENANT),
    scripts,
    atRest,
    queues,
    outbox,
    pubsub,
    jobs,
    openJobs,
    work,
    openWork: (overrides) => createWork({ ...workDeps, ...overrides }),
    embeddingCache,
    prefixes: createPromptPrefixes({
      redis,
      prefix,
      onError(error) {
        throw error
      },
    }),
    maintenance,
    retention,
    files,
    heldFiles,
    settings,
    lane,
    fetch,
    start,
    dump: () => dumpRedis(redis, prefix),
  }
}

export const intent = { provider: 'sim', model: 'chat', coalesced: 1, waitedFor: null }

/** A chat job about `text`, for the lane of the tests. */
export function newJob(members: Partial<NewJob> = {}, text = 'hello'): NewJob {
  return {
    tenant: TENANT,
    type: 'chat',
    model: LANE,
    lane: LANE,
    body: { model: LANE, messages: [{ role: 'user', content: text }] },
    priority: 'normal',
    runAt: null,
    deadline: null,
    timeoutMs: 30_000,
    maxAttempts: 3,
    cache: 'use',
    webhook: null,
    group: null,
    metadata: {},
    idempotencyKey: null,
    cost: { tokens: 10, inputTokens: 10, outputTokens: 0, inputs: 1, coalesceKey: null },
    estimateUsd: 0,
    limits: { maxQueued: 1_000_000, requestsPerMinute: null, budgetUsdPerDay: null },
    ...members,
  }
}

/** Submits a job that must be accepted. */
export async function submit(store: TestStore, members: Partial<NewJob> = {}, text?: string): Promise<Job> {
  const outcome = await store.jobs.create(newJob(members, text))
  if (outcome.kind !== 'created' && outcome.kind !== 'replayed') throw new Error(`got ${outcome.kind}`)
  return outcome.job
}

export async function read(store: TestStore, id: string): Promise<Job> {
  const job = await store.jobs.get(TENANT, id)
  if (!job) throw new Error(`there is no job ${id}`)
  return job
}

export async function statusesOf(store: TestStore, ids: string[]): Promise<JobStatus[]> {
  return Promise.all(ids.map(async (id) => (await read(store, id)).status))
}

const usage = { input_tokens: 7, output_tokens: 5, total_tokens: 12 }
export const success: AttemptEnd = { outcome: 'completed', latency_ms: 12, status: 200, usage, cost_usd: 0.5 }
export const failure: AttemptEnd = { outcome: 'retryable', latency_ms: 9, status: 500, error_code: 'broken' }
export const jobError = { code: 'broken', message: 'It broke.', provider_status: 500, retryable: true }

/** Stores a result and acknowledges the entry, as a worker does. */
export async function complete(
  store: TestStore,
  { held, claimed }: Running,
  result: JsonObject = { answer: 'hi' },
): Promise<void> {
  await store.work.complete([{ claimed, end: success, result, usage, costUsd: 0.5 }])
  await store.lane().acknowledge(held)
}

export async function fail(store: TestStore, { held, claimed }: Running, own = false): Promise<void> {
  await store.work.fail(claimed, failure, jobError, own)
  await store.lane().acknowledge(held)
}

export const retryNow: Retry = { at: 0, countsAsAttempt: true, reason: 'broken', waitingFor: 'retry_delay' }

/** The job's events up to now. */
export async function eventsOf(store: TestStore, id: string): Promise<string[]> {
  const events = await store.redis.lrange(`${store.root}:job:${id}:events`, '0', '-1')
  return events.map((text) => JSON.parse(text).event)
}

/** Ids of the waiting entries of the tests' lane, `<job>-<number>` each. */
export async function queuedEntries(store: TestStore): Promise<string[]> {
  await store.outbox.idle()
  const key = (name: string) => `${store.prefix}:{l:${LANE}}:calls:${name}`
  const [prioritized, delayed, wait] = await Promise.all([
    store.redis.zrange(key('prioritized'), '0', '-1'),
    store.redis.zrange(key('delayed'), '0', '-1'),
    store.redis.lrange(key('wait'), 0, -1),
  ])
  return [...prioritized, ...delayed, ...wait].filter((id) => id.startsWith('job_'))
}

export async function collect(events: AsyncIterable<JobEvent>): Promise<JobEvent[]> {
  return await Array.fromAsync(events)
}

/** Resolves once the condition holds; looks every few milliseconds. */
export async function until(holds: () => Promise<boolean> | boolean, timeoutMs = 20_000): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`the condition did not hold within ${timeoutMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

async function findPlace(options: TestStoreOptions): Promise<TestPlace> {
  if (!options.own) return options.place ?? testRedis()
  const server = await startTestRedis()
  onTestFinished(() => server.close())
  return { url: server.url, prefix: `test-${randomUUID()}` }
}

async function dumpRedis(redis: RedisClient, prefix: string): Promise<string> {
  const lines: string[] = []
  for (const key of await keysOf(redis, `${prefix}:*`)) {
    const type = await redis.type(key)
    const value =
      type === 'string'
        ? await redis.get(key)
        : type === 'hash'
          ? await redis.hgetall(key)
          : type === 'list'
            ? await redis.lrange(key, '0', '-1')
            : type === 'set'
              ? await redis.smembers(key)
              : type === 'zset'
                ? await redis.zrange(key, '0', '-1')
                : await redis.xrange(key, '-', '+')
    lines.push(`${key} ${JSON.stringify(value)}`)
  }
  return lines.join('\n')
}

/** The worker that held the job's call is gone: its lock has ended. */
export async function loseLease(store: TestStore, { id, entry }: Held): Promise<void> {
  await store.redis.zadd(`${store.root}:outbox`, 1, `${id}-${entry}`)
}

/** Another worker takes over the job of a worker that is gone, with this token. */
export async function startAgain(store: TestStore, held: Held, token: string): Promise<Started> {
  await loseLease(store, held)
  const [started] = await store.work.start([{ ...held, token }], intent)
  return started!
}
