import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Job } from '../../../jobs/job.ts'
import { createAddressGuard } from '../../../webhooks/address-guard.ts'
import {
  createWebhookDelivery,
  type WebhookDeliveryDeps,
  type WebhookDeliveryOptions,
} from '../../../webhooks/deliverer.ts'
import type { WebhookDeliveryView } from '../../../webhooks/delivery.ts'
import { createWebhookSender } from '../../../webhooks/send.ts'
import { createWebhookStore, type WebhookStore } from '../../../webhooks/store.ts'
import { startTestRedis } from '../../helpers/redis.ts'
import { type Answerer, startReceiver, verifyReceived, WEBHOOK_SECRET } from './receiver.ts'

let server: Awaited<ReturnType<typeof startTestRedis>>
let redis: Redis
let store: WebhookStore
const closers: (() => Promise<void>)[] = []
/** The jobs that a worker can load; a test may change them. */
const jobs = new Map<string, Job>()

beforeAll(async () => {
  server = await startTestRedis()
  redis = new Redis(server.url)
  store = createWebhookStore({ redis, root: (tenant) => `test:{t:${tenant}}` })
})

beforeEach(async () => {
  await redis.flushall()
  jobs.clear()
  jobs.set('job_1', jobOf('job_1'))
})

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

afterAll(async () => {
  await redis.quit()
  await server.close()
})

function jobOf(id: string, overrides: Partial<Job> = {}): Job {
  return {
    id,
    object: 'job',
    type: 'chat',
    status: 'completed',
    model: 'openai/gpt-5-mini',
    lane: 'openai/gpt-5-mini',
    group: null,
    fair_key: null,
    priority: 'normal',
    tier: 'standard',
    served_tier: null,
    metadata: {},
    created_at: '2026-11-23T10:00:00.000Z',
    run_at: null,
    started_at: '2026-11-23T10:00:01.000Z',
    finished_at: '2026-11-23T10:00:02.000Z',
    deadline: null,
    attempts: 1,
    max_attempts: 6,
    redrives: 0,
    next_attempt_at: null,
    estimated_start_at: null,
    waiting_for: null,
    cache: 'miss',
    result: { id: 'chatcmpl-1', object: 'chat.completion' },
    usage: { input_tokens: 1, output_tokens: 2, total_tokens: 3 },
    usage_is_estimate: false,
    cost_usd: 0.000004,
    dropped_members: [],
    cost_is_estimate: false,
    error: null,
    ...overrides,
  }
}

async function openReceiver(answer?: Answerer) {
  const receiver = await startReceiver(answer)
  closers.push(receiver.close)
  return receiver
}

/** Starts one worker's webhook delivery with its own sender. */
function startDelivery(
  asked: Partial<WebhookDeliveryDeps> & WebhookDeliveryOptions & { schedule?: number[] } = {},
) {
  const { concurrency, concurrencyPerHost, leaseMs, pollMs, schedule = [0, 5, 10], ...overrides } = asked
  const guard = createAddressGuard({ allowPrivateAddresses: true })
  const sender = createWebhookSender({ guard, secrets: () => [WEBHOOK_SECRET], now: Date.now, version: '0' })
  const delivery = createWebhookDelivery(
    {
      store,
      sender,
      settings: () => ({ schedule, linkBase: 'https://sluice.example' }),
      tenants: async () => ['acme'],
      loadSubject: async ({ jobId }) => jobs.get(jobId) ?? null,
      log: { warn: () => {}, error: () => {} },
      now: Date.now,
      events: { emit() {} },
      onFailure() {},
      isStoreThere: async () => true,
      ...overrides,
    },
    {
      pollMs: pollMs ?? 20,
      ...(concurrency === undefined ? {} : { concurrency }),
      ...(concurrencyPerHost === undefined ? {} : { concurrencyPerHost }),
      ...(leaseMs === undefined ? {} : { leaseMs }),
    },
  )
  delivery.start()
  const close = async () => {
    await delivery.stop()
    await sender.close()
  }
  closers.push(close)
  return { ...delivery, close }
}

async function create(url: string, id = 'whd_1', now = Date.now() - 5): Promise<void> {
  await store.create('acme', { id, jobId: 'job_1', event: 'job.completed', url, now })
}

/** Waits until the job's deliveries, or the one with this id, have all left `pending`; answers the newest. */
async function settled(id?: string) {
  const read = async () =>
    (await store.list('acme', 'job_1')).filter((one) => id === undefined || one.id === id)
  await expect
    .poll(read, { interval: 10, timeout: 20_000 })
    .toSatisfy((deliveries) => deliveries.every(({ status }: WebhookDeliveryView) => status !== 'pending'))
  return (await read())[0]
}

const failingFirst =
  (failures: number, status = 500): Answerer =>
  (_received, index, response) =>
    void response.writeHead(index < failures ? status : 204).end()

describe('webhook delivery', () => {
  it('delivers the job, signed', async () => {
    const receiver = await openReceiver()
    await create(receiver.url)
    startDelivery()
    expect(await settled()).toMatchObject({
      status: 'delivered',
      next_attempt_at: null,
      attempts: [{ status: 204, error: null }],
    })
    expect(verifyReceived(receiver.received[0])).toMatchObject({
      type: 'job.completed',
      data: jobs.get('job_1'),
    })
    expect(receiver.received).toHaveLength(1)
  })

  it('retries by the schedule under the same id until a 2xx comes', async () => {
    const receiver = await openReceiver(failingFirst(2))
    await create(receiver.url)
    startDelivery()
    const delivery = await settled()
    expect(delivery?.status).toBe('delivered')
    expect(delivery?.attempts.map(({ status }) => status)).toEqual([500, 500, 204])
    expect(receiver.received.map(({ id }) => id)).toEqual(['whd_1', 'whd_1', 'whd_1'])
    for (const received of receiver.received) verifyReceived(received)
  })

  it.each([429, 503])('does not send again before the Retry-After of a %d, and shows it', async (status) => {
    const times: number[] = []
    const receiver = await openReceiver((_received, index, response) => {
      times.push(performance.now())
      if (index > 0) return void response.writeHead(204).end()
      response.writeHead(status, { 'retry-after': '1' }).end()
    })
    await create(receiver.url)
    startDelivery()
    const delivery = await settled()
    expect(delivery).toMatchObject({ status: 'delivered', attempts: [{ status, retry_after_ms: 1000 }, {}] })
    expect(delivery?.attempts[1]).not.toHaveProperty('retry_after_ms')
    expect(times[1]! - times[0]!).toBeGreaterThanOrEqual(990)
  })

  it('gives up when the schedule is exhausted', async () => {
    const receiver = await openReceiver(failingFirst(99))
    await create(receiver.url)
    startDelivery()
    const delivery = await settled()
    expect(delivery).toMatchObject({ status: 'failed', next_attempt_at: null })
    expect(delivery?.attempts.map(({ error }) => error)).toEqual([
      'answered 500',
      'answered 500',
      'answered 500',
    ])
  })

  it('treats a redirect as a failure', async () => {
    const elsewhere = await openReceiver()
    const receiver = await openReceiver((_received, _index, response) => {
      response.writeHead(307, { location: elsewhere.url }).end()
    })
    await create(receiver.url)
    startDelivery({ schedule: [0] })
    expect(await settled()).toMatchObject({ status: 'failed', attempts: [{ status: 307 }] })
    expect(elsewhere.received).toEqual([])
  })

  it('stops at once on 410', async () => {
    const receiver = await openReceiver(failingFirst(99, 410))
    await create(receiver.url)
    startDelivery()
    expect(await settled()).toMatchObject({
      status: 'failed',
      attempts: [{ status: 410, error: 'answered 410' }],
    })
    expect(receiver.received).toHaveLength(1)
  })

  it('fails a delivery whose job was deleted, sending nothing', async () => {
    const receiver = await openReceiver()
    jobs.clear()
    await create(receiver.url)
    startDelivery()
    expect(await settled()).toMatchObject({
      status: 'failed',
      attempts: [{ status: null, error: 'job deleted' }],
    })
    expect(receiver.received).toEqual([])
  })

  it('shows the current job when sending', async () => {
    const receiver = await openReceiver((_received, index, response) => {
      jobs.set('job_1', jobOf('job_1', { metadata: { seen: 'later' } }))
      response.writeHead(index === 0 ? 500 : 204).end()
    })
    await create(receiver.url)
    startDelivery()
    await settled()
    const shown = receiver.received.map(
      (received) => (verifyReceived(received) as { data: Job }).data.metadata,
    )
    expect(shown).toEqual([{}, { seen: 'later' }])
  })

  it('sends again under the same id when asked to, with a fresh schedule', async () => {
    const receiver = await openReceiver(failingFirst(4))
    await create(receiver.url)
    const { wake } = startDelivery()
    expect((await settled())?.status).toBe('failed')
    expect(receiver.received).toHaveLength(3)
    await store.redeliver('acme', 'whd_1')
    wake()
    expect((await settled())?.status).toBe('delivered')
    expect(receiver.received.map(({ id }) => id)).toEqual(new Array(5).fill('whd_1'))
  })

  it('waits for the first entry of the schedule', async () => {
    const receiver = await openReceiver()
    const createdAt = Date.now()
    await create(receiver.url, 'whd_1', createdAt)
    startDelivery({ schedule: [120] })
    const delivery = await settled()
    expect(delivery).toMatchObject({ status: 'delivered', attempts: [{ status: 204 }] })
    expect(Date.parse(delivery?.attempts[0]?.at ?? '') - createdAt).toBeGreaterThanOrEqual(119)
  })

  it('delivers each webhook once with several workers', async () => {
    const receiver = await openReceiver()
    const ids = Array.from({ length: 60 }, (_, n) => `whd_${n}`)
    for (const id of ids) await create(receiver.url, id)
    for (let n = 0; n < 3; n++) startDelivery()
    await settled()
    expect(receiver.received.map(({ id }) => id).sort()).toEqual([...ids].sort())
    expect(receiver.most.openOfOneId).toBe(1)
  })

  it('sends again what a worker left in mid-send when its lease has ended', async () => {
    const receiver = await openReceiver()
    await create(receiver.url)
    await store.claimDue('acme', { limit: 1, leaseMs: 50, offset: 0, perHost: 1, inHand: new Map() })
    startDelivery()
    expect((await settled())?.status).toBe('delivered')
    expect(receiver.received).toHaveLength(1)
  })

  it('lets other hosts pass a host that does not answer', async () => {
    const slow = await openReceiver(() => {})
    const quick = await openReceiver()
    for (let n = 0; n < 300; n++) await create(slow.url, `whd_slow${n}`)
    await create(quick.url.replace('127.0.0.1', 'localhost'), 'whd_quick')
    startDelivery({ concurrency: 4, concurrencyPerHost: 2 })
    expect((await settled('whd_quick'))?.status).toBe('delivered')
    expect(slow.most.open).toBeLessThanOrEqual(2)
    slow.hangUp()
  })

  it('finishes and records running sends when it stops, and takes no more', async () => {
    let answer = () => {}
    const receiver = await openReceiver((_received, _index, response) => {
      answer = () => void response.writeHead(204).end()
    })
    await create(receiver.url, 'whd_1')
    const { stop } = startDelivery()
    await receiver.got(1)
    const stopped = stop()
    await create(receiver.url, 'whd_2')
    answer()
    await stopped
    expect((await store.list('acme', 'job_1')).map(({ id, status }) => [id, status])).toEqual([
      ['whd_2', 'pending'],
      ['whd_1', 'delivered'],
    ])
    expect(receiver.received).toHaveLength(1)
  })

  it('starts no send on a lease that is nearly over, and leaves it to the next claim', async () => {
    const receiver = await openReceiver()
    await create(receiver.url)
    const leaseMs = 600
    let loads = 0
    // Delayed once, for longer than a send and its record may take of the lease.
    const loadSubject = async ({ jobId: id }: { jobId: string }) => {
      if (loads++ === 0) await new Promise((resolve) => setTimeout(resolve, leaseMs * 0.7))
      return jobs.get(id) ?? null
    }
    startDelivery({ leaseMs, loadSubject })
    await receiver.got(1)
    expect(loads).toBe(2)
    expect((await settled())?.attempts).toHaveLength(1)
    expect(receiver.received).toHaveLength(1)
  })

  it('decides nothing by a send that outlasts its lease, unless it delivered', async () => {
    const leaseMs = 300
    const receiver = await openReceiver(async (_received, index, response) => {
      if (index === 0) await new Promise((resolve) => setTimeout(resolve, 2 * leaseMs))
      response.writeHead(index === 0 ? 500 : 204).end()
    })
    await create(receiver.url)
    startDelivery({ leaseMs, schedule: [0, 60_000] })
    expect(await settled()).toMatchObject({ status: 'delivered' })
    expect(receiver.received.map(({ id }) => id)).toEqual(['whd_1', 'whd_1'])
  })

  it('goes on after its store could not be read', async () => {
    const receiver = await openReceiver()
    await create(receiver.url)
    let failures = 2
    const tenants = async () => {
      if (failures-- > 0) throw new Error('Redis is away')
      return ['acme']
    }
    startDelivery({ tenants })
    expect((await settled())?.status).toBe('delivered')
  })
})

describe('webhooks of several tenants', () => {
  const createFor = (tenant: string, url: string, id: string) =>
    store.create(tenant, { id, jobId: 'job_1', event: 'job.completed', url, now: Date.now() - 5 })

  /** How long a tenant's webhook takes while receivers of others are silent. */
  async function delayOf(tenant: string, url: string): Promise<number> {
    const quick = await openReceiver()
    const begun = performance.now()
    await createFor(tenant, url.replace('RECEIVER', new URL(quick.url).host), `whd_${tenant}_quick`)
    await quick.got(1)
    return performance.now() - begun
  }

  /** Accepts connections at every address of this machine, with 127.0.0.0/8, and never answers. */
  async function openSilence() {
    const sockets = new Set<Socket>()
    const server = createServer((socket) => {
      sockets.add(socket)
      socket.on('close', () => sockets.delete(socket))
      socket.on('error', () => {})
    })
    server.listen(0, '0.0.0.0')
    await once(server, 'listening')
    const hangUp = () => {
      for (const socket of sockets) socket.destroy()
    }
    closers.push(async () => {
      server.close()
      hangUp()
    })
    return { port: (server.address() as AddressInfo).port, open: () => sockets.size, hangUp }
  }

  it.skipIf(process.platform !== 'linux')(
    'are not held up by silent receivers of another tenant, on any number of hosts',
    async () => {
      const silence = await openSilence()
      for (let n = 0; n < 400; n++) {
        await createFor('acme', `http://127.1.${n >> 7}.${1 + (n & 127)}:${silence.port}/`, `whd_${n}`)
      }
      startDelivery({ tenants: async () => ['acme', 'other'], concurrency: 8, concurrencyPerHost: 2 })
      await expect.poll(silence.open).toBe(8)
      expect(await delayOf('other', 'http://RECEIVER/hook')).toBeLessThan(8000)
      expect(silence.open()).toBe(8)
      // Deliveries whose connection it closes fail, and others take their places: the outbox has to be gone before
      // the end.
      await redis.del('test:{t:acme}:webhooks')
      silence.hangUp()
    },
  )

  it('are not held up by many tenants whose receivers are all silent', async () => {
    const silent = await openReceiver(() => {})
    const names = Array.from({ length: 20 }, (_, n) => `t${n}`)
    for (const name of names)
      for (let n = 0; n < 4; n++) await createFor(name, silent.url, `whd_${name}_${n}`)
    startDelivery({ tenants: async () => [...names, 'other'], concurrency: 4, concurrencyPerHost: 2 })
    await expect.poll(() => silent.most.open).toBeGreaterThanOrEqual(names.length)
    expect(await delayOf('other', 'http://RECEIVER/hook')).toBeLessThan(8000)
    silent.hangUp()
  })

  it('share the way to one host', async () => {
    const receiver = await openReceiver((received, _index, response) => {
      if (received.path === '/quick') response.writeHead(204).end()
    })
    for (let n = 0; n < 40; n++) await createFor('acme', `${receiver.url}/silent`, `whd_${n}`)
    startDelivery({ tenants: async () => ['acme', 'other'], concurrencyPerHost: 4 })
    await expect.poll(() => receiver.most.open).toBe(4)
    const begun = performance.now()
    await createFor('other', new URL('/quick', receiver.url).href, 'whd_other')
    await expect.poll(() => receiver.received.some(({ path }) => path === '/quick')).toBe(true)
    expect(performance.now() - begun).toBeLessThan(8000)
    receiver.hangUp()
  })

  it('go out though the outbox of one cannot be read', async () => {
    const receiver = await openReceiver()
    await redis.set('test:{t:broken}:webhooks', 'no sorted set')
    const failures: string[] = []
    startDelivery({
      tenants: async () => ['broken', 'other'],
      onFailure: ({ tenant, error }) => failures.push(`${tenant}: ${error}`),
    })
    await createFor('other', receiver.url, 'whd_other')
    await receiver.got(1)
    expect(failures[0]).toMatch(/^broken: .*WRONGTYPE/)
  })
})
