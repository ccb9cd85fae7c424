import { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { ClaimedDelivery } from '../../../webhooks/delivery.ts'
import {
  type ClaimAsk,
  createWebhookStore,
  type FailingPage,
  type FailingPlace,
  type WebhookStore,
} from '../../../webhooks/store.ts'
import { startTestRedis } from '../../helpers/redis.ts'

let server: Awaited<ReturnType<typeof startTestRedis>>
let redis: Redis
let store: WebhookStore

const root = (tenant: string) => `test:{t:${tenant}}`
const attempt = { at: '2026-11-23T10:00:00.000Z', status: 500, error: 'answered 500', latency_ms: 12 }
const delivered = { ...attempt, status: 204, error: null }

beforeAll(async () => {
  server = await startTestRedis()
  redis = new Redis(server.url)
  store = createWebhookStore({ redis, root })
})

beforeEach(async () => {
  await redis.flushall()
})

afterAll(async () => {
  await redis.quit()
  await server.close()
})

async function create(id: string, tenant = 'acme', now = Date.now() - 5, url = 'https://r.example/') {
  await store.create(tenant, { id, jobId: 'job_1', event: 'job.completed', url, now })
}

async function claim(options: Partial<ClaimAsk> = {}, tenant = 'acme') {
  const ask = { limit: 10, leaseMs: 60_000, offset: 0, perHost: 100, inHand: new Map(), ...options }
  return await store.claimDue(tenant, ask)
}

async function claimOne(): Promise<ClaimedDelivery> {
  const { claimed } = await claim({ limit: 1 })
  if (!claimed[0]) throw new Error('nothing was due')
  return claimed[0]
}

/** Ends every lease, as a minute without its worker would. */
async function endLeases(): Promise<void> {
  for (const id of await redis.zrange(`${root('acme')}:webhooks`, '0', '-1')) {
    await redis.zadd(`${root('acme')}:webhooks`, '1', id)
    await redis.hset(`${root('acme')}:delivery:${id}`, 'lease', '1')
  }
}

describe('what a tenant learns about its receivers', () => {
  const fail = async (status: 'pending' | 'failed' = 'pending') =>
    store.recordAttempt(await claimOne(), attempt, status === 'failed' ? { status } : { status, delayMs: 0 })
  const idsOf = async (status: 'pending' | 'failed' | null = null, limit = 100) =>
    (await store.failing('acme', status, limit)).deliveries.map(({ id }) => id)

  it('has the deliveries that fail, the latest attempt first, until they get through or are gone', async () => {
    for (const id of ['whd_1', 'whd_2', 'whd_3']) {
      // Due before the deliveries that are to be sent again.
      await create(id, 'acme', 1)
      await fail(id === 'whd_2' ? 'failed' : 'pending')
    }
    expect(await idsOf()).toEqual(['whd_3', 'whd_2', 'whd_1'])
    expect(await idsOf('failed')).toEqual(['whd_2'])
    expect(await store.failing('acme', null, 1)).toMatchObject({
      deliveries: [{ id: 'whd_3' }],
      hasMore: true,
    })
    expect(await store.failing('other', null, 9)).toEqual({ deliveries: [], places: [], hasMore: false })
    const next = await claimOne()
    await store.recordAttempt(next, delivered, { status: 'delivered' })
    expect(await idsOf()).toEqual(['whd_3', 'whd_2', 'whd_1'].filter((id) => id !== next.id))
    expect(await redis.zscore(`${root('acme')}:webhooks:failing`, next.id)).toBeNull()
    await redis.del(`${root('acme')}:delivery:whd_2`)
    expect(await idsOf()).not.toContain('whd_2')
    expect(await redis.zscore(`${root('acme')}:webhooks:failing`, 'whd_2')).toBeNull()
  })

  it('has them page after page, also those of one millisecond, and those that move or disappear in between', async () => {
    const ids = ['whd_1', 'whd_2', 'whd_3', 'whd_4', 'whd_5']
    for (const id of ids) {
      await create(id)
      await fail('failed')
    }
    const key = `${root('acme')}:webhooks:failing`
    await redis.zadd(key, ...ids.flatMap((id, at) => [String(at < 3 ? 1000 : 2000), id]))
    const found: string[] = []
    let after: FailingPlace | undefined
    for (;;) {
      const page: FailingPage = await store.failing('acme', null, 2, after)
      found.push(...page.deliveries.map(({ id }) => id))
      if (!page.hasMore) break
      after = page.places.at(-1)
      // The last of the page is gone when the next is requested.
      await redis.zrem(key, after!.id)
    }
    expect(found).toEqual(['whd_5', 'whd_4', 'whd_3', 'whd_2', 'whd_1'])
  })

  it('has the addresses with how their attempts ended, and since when one fails', async () => {
    await create('whd_1')
    await fail()
    const [first] = await store.endpoints('acme')
    expect(first).toMatchObject({ url: 'https://r.example/', delivered: 0, failed: 1, last_status: 500 })
    await endLeases()
    await fail()
    expect(await store.endpoints('acme')).toMatchObject([{ failed: 2, failing_since: first!.failing_since }])
    await endLeases()
    await store.recordAttempt(await claimOne(), delivered, { status: 'delivered' })
    expect(await store.endpoints('acme')).toMatchObject([
      { delivered: 1, failed: 2, last_status: 204, last_error: null, failing_since: null },
    ])
    expect(await store.endpoints('other')).toEqual([])
  })

  it('has the latest 200 addresses and no more', async () => {
    for (let number = 0; number < 203; number++) {
      await create(`whd_${number}`, 'acme', Date.now() - 5, `https://r.example/${number}`)
      await fail('failed')
    }
    const urls = (await store.endpoints('acme')).map(({ url }) => url)
    expect(urls).toHaveLength(200)
    expect(urls).toContain('https://r.example/202')
    expect(await redis.hlen(`${root('acme')}:webhooks:addresses`)).toBe(200)
    expect(await redis.zcard(`${root('acme')}:webhooks:addresses:used`)).toBe(200)

    // One more does not read the existing ones.
    await create('whd_more', 'acme', Date.now() - 5, 'https://r.example/more')
    const claimed = await claimOne()
    await redis.config('RESETSTAT')
    await store.recordAttempt(claimed, attempt, { status: 'failed' })
    expect(await redis.info('commandstats')).not.toMatch(/hgetall|hvals|hscan/)
    const left = (await store.endpoints('acme')).map(({ url }) => url)
    expect(left).toHaveLength(200)
    expect(left).toContain('https://r.example/more')
  })

  it('has one address for all queries, which name jobs', async () => {
    for (const [number, query] of ['', '?job=1', '?job=2#a', '#b'].entries()) {
      await create(`whd_${number}`, 'acme', Date.now() - 5, `https://r.example/hook${query}`)
      await fail('failed')
    }
    expect(await store.endpoints('acme')).toMatchObject([{ url: 'https://r.example/hook', failed: 4 }])
  })

  it('keeps an address for 30 days after its latest attempt, independent of other addresses', async () => {
    const key = (name: string) => `${root('acme')}:webhooks:${name}`
    for (const [id, path] of [
      ['whd_1', 'old'],
      ['whd_2', 'new'],
    ] as const) {
      await create(id, 'acme', Date.now() - 5, `https://r.example/${path}`)
      await fail('failed')
    }
    const old = 'https://r.example/old'
    const at = Date.now() - 31 * 86_400_000
    const counts = JSON.parse((await redis.hget(key('addresses'), old)) ?? '{}') as object
    await redis.hset(key('addresses'), old, JSON.stringify({ ...counts, last_at: at }))
    await redis.zadd(key('addresses:used'), at, old)
    await redis.zadd(key('failing'), at, 'whd_1')
    expect((await store.endpoints('acme')).map(({ url }) => url)).toEqual(['https://r.example/new'])
    await create('whd_3', 'acme', Date.now() - 5, 'https://r.example/new')
    await fail('failed')
    expect(await redis.hkeys(key('addresses'))).toEqual(['https://r.example/new'])
    expect(await redis.zrange(key('addresses:used'), '0', '-1')).toEqual(['https://r.example/new'])
    expect(await idsOf()).toEqual(['whd_3', 'whd_2'])
  })

  it('has nothing of the webhooks that tell the operations about a budget', async () => {
    await store.create('acme', {
      id: 'whd_b',
      jobId: 'budget_1',
      event: 'job.completed',
      url: 'https://ops.example/',
      now: 1,
    })
    await fail()
    expect([await idsOf(), await store.endpoints('acme')]).toEqual([[], []])
    expect(await redis.exists(`${root('acme')}:webhooks:failing`)).toBe(0)
  })
})

describe('webhook store', () => {
  it('answers with a new delivery as pending, due at once, without attempts', async () => {
    await create('whd_1', 'acme', 1_700_000_000_000)
    expect(await store.list('acme', 'job_1')).toEqual([
      {
        id: 'whd_1',
        job_id: 'job_1',
        event: 'job.completed',
        url: 'https://r.example/',
        status: 'pending',
        created_at: '2023-11-14T22:13:20.000Z',
        next_attempt_at: '2023-11-14T22:13:20.000Z',
        attempts: [],
      },
    ])
  })

  it('lists the newest delivery first', async () => {
    await create('whd_1')
    await create('whd_2')
    expect((await store.list('acme', 'job_1')).map(({ id }) => id)).toEqual(['whd_2', 'whd_1'])
  })

  it('says how many are to be made, and since when the first is due', async () => {
    expect(await store.backlog('acme')).toEqual({ pending: 0, dueSince: null })
    await create('whd_1', 'acme', 1_700_000_000_000)
    await create('whd_2', 'acme', 1_700_000_000_500)
    expect(await store.backlog('acme')).toEqual({ pending: 2, dueSince: 1_700_000_000_000 })
    // A delivery that is being sent is not late.
    const now = Date.now()
    await claim()
    const { pending, dueSince } = await store.backlog('acme')
    expect(pending).toBe(2)
    expect(dueSince).toBeGreaterThan(now)
  })

  it('shows a tenant nothing of another', async () => {
    await create('whd_1', 'acme')
    expect(await store.list('other', 'job_1')).toEqual([])
    expect(await store.redeliver('other', 'whd_1')).toBeNull()
    expect((await claim({}, 'other')).claimed).toEqual([])
  })

  it('claims due deliveries, once', async () => {
    await create('whd_1', 'acme', 1_700_000_000_000)
    const first = await claim()
    expect(first.claimed).toMatchObject([
      {
        tenant: 'acme',
        id: 'whd_1',
        jobId: 'job_1',
        event: 'job.completed',
        url: 'https://r.example/',
        createdAt: 1_700_000_000_000,
        attemptsMade: 0,
      },
    ])
    expect((await claim()).claimed).toEqual([])
  })

  it('never gives one delivery to two that claim at the same time', async () => {
    for (let n = 0; n < 50; n++) await create(`whd_${n}`)
    const claims = await Promise.all(Array.from({ length: 20 }, () => claim({ limit: 4 })))
    const ids = claims.flatMap(({ claimed }) => claimed.map(({ id }) => id))
    expect(ids).toHaveLength(50)
    expect(new Set(ids).size).toBe(50)
  })

  it('makes a delivery due again when its lease ends without a record', async () => {
    await create('whd_1')
    await claimOne()
    await endLeases()
    expect(await claimOne()).toMatchObject({ id: 'whd_1', attemptsMade: 0 })
  })

  it('says how long it is until the next one is due', async () => {
    expect((await claim()).nextDueInMs).toBeNull()
    await create('whd_1', 'acme', Date.now() + 5000)
    const { claimed, nextDueInMs } = await claim()
    expect(claimed).toEqual([])
    expect(nextDueInMs).toBeGreaterThan(4000)
    expect(nextDueInMs).toBeLessThanOrEqual(5000)
  })

  it('leaves deliveries to a host that has enough in hand, and takes the others', async () => {
    for (let n = 0; n < 5; n++) await create(`whd_a${n}`, 'acme', 1000 + n, 'https://A.example:8443?x')
    await create('whd_b', 'acme', 2000, 'http://b.example/hook')
    const first = await claim({ perHost: 2 })
    expect(first.claimed.map(({ id, host }) => [id, host])).toEqual([
      ['whd_a0', 'a.example'],
      ['whd_a1', 'a.example'],
      ['whd_b', 'b.example'],
    ])
    const inHand = new Map([['a.example', 1]])
    expect((await claim({ perHost: 2, inHand })).claimed.map(({ id }) => id)).toEqual(['whd_a2'])
  })

  it('finds deliveries behind any number of others to a busy host', async () => {
    for (let n = 0; n < 300; n++) await create(`whd_a${n}`, 'acme', 1000 + n, 'https://a.example/')
    await create('whd_b', 'acme', 2000, 'https://b.example/')
    const found: string[] = []
    const offsets: number[] = []
    let offset = 0
    do {
      const { claimed, nextOffset } = await claim({ offset, perHost: 1, inHand: new Map([['a.example', 1]]) })
      found.push(...claimed.map(({ id }) => id))
      offsets.push(nextOffset)
      offset = nextOffset
    } while (offset > 0)
    expect(found).toEqual(['whd_b'])
    expect(offsets).toEqual([128, 256, 0])
  })

  it('drops an outbox entry whose delivery was deleted', async () => {
    await create('whd_1')
    await redis.del(`${root('acme')}:delivery:whd_1`)
    expect((await claim()).claimed).toEqual([])
    expect(await redis.zcard(`${root('acme')}:webhooks`)).toBe(0)
  })

  it('ends a delivery that was delivered', async () => {
    await create('whd_1')
    expect(await store.recordAttempt(await claimOne(), delivered, { status: 'delivered' })).toBe('recorded')
    await endLeases()
    expect((await claim()).claimed).toEqual([])
    expect(await store.list('acme', 'job_1')).toMatchObject([
      { status: 'delivered', next_attempt_at: null, attempts: [delivered] },
    ])
  })

  it('brings a delivery back after its delay with its attempts counted', async () => {
    await create('whd_1')
    await store.recordAttempt(await claimOne(), attempt, { status: 'pending', delayMs: 0 })
    const again = await claimOne()
    expect(again.attemptsMade).toBe(1)
    await store.recordAttempt(again, attempt, { status: 'pending', delayMs: 7_200_000 })
    expect((await claim()).claimed).toEqual([])
    const [delivery] = await store.list('acme', 'job_1')
    expect(delivery).toMatchObject({ status: 'pending', attempts: [attempt, attempt] })
    const waitMs = Date.parse(delivery?.next_attempt_at ?? '') - Date.now()
    expect(waitMs).toBeGreaterThan(7_190_000)
    expect(waitMs).toBeLessThanOrEqual(7_200_000)
  })

  it('keeps the latest 20 attempts', async () => {
    await create('whd_1')
    for (let n = 1; n <= 25; n++) {
      await store.recordAttempt(
        await claimOne(),
        { ...attempt, latency_ms: n },
        { status: 'pending', delayMs: 0 },
      )
    }
    const [delivery] = await store.list('acme', 'job_1')
    expect(delivery?.attempts.map(({ latency_ms }) => latency_ms)).toEqual(
      Array.from({ length: 20 }, (_, n) => n + 6),
    )
    expect((await claimOne()).attemptsMade).toBe(25)
  })

  it('lets an attempt after its lease decide nothing', async () => {
    await create('whd_1')
    const slow = await claimOne()
    await endLeases()
    const quick = await claimOne()
    expect(await store.recordAttempt(slow, attempt, { status: 'failed' })).toBe('stale')
    expect(await store.list('acme', 'job_1')).toMatchObject([{ status: 'pending', attempts: [attempt] }])
    await store.recordAttempt(quick, delivered, { status: 'delivered' })
    expect(await store.list('acme', 'job_1')).toMatchObject([
      { status: 'delivered', attempts: [attempt, delivered] },
    ])
  })

  it('accepts a late attempt that delivered', async () => {
    await create('whd_1')
    const slow = await claimOne()
    await endLeases()
    const quick = await claimOne()
    expect(await store.recordAttempt(slow, delivered, { status: 'delivered' })).toBe('recorded')
    expect(await store.recordAttempt(quick, attempt, { status: 'pending', delayMs: 0 })).toBe('stale')
    expect(await store.list('acme', 'job_1')).toMatchObject([{ status: 'delivered' }])
    expect((await claim()).claimed).toEqual([])
  })

  it('does not bring back a delivery that was deleted in mid-attempt', async () => {
    await create('whd_1')
    const claimed = await claimOne()
    await redis.del(`${root('acme')}:delivery:whd_1`)
    expect(await store.recordAttempt(claimed, delivered, { status: 'delivered' })).toBe('gone')
    await store.postpone(claimed, 0)
    expect(await redis.exists(`${root('acme')}:delivery:whd_1`)).toBe(0)
    expect(await redis.zcard(`${root('acme')}:webhooks`)).toBe(0)
  })

  it('gives a postponed delivery to the next claim without counting an attempt', async () => {
    await create('whd_1')
    await store.postpone(await claimOne(), 0)
    expect(await claimOne()).toMatchObject({ id: 'whd_1', attemptsMade: 0 })
  })

  it('sends a redelivery once that was asked for while its claim was given back', async () => {
    await create('whd_1')
    await store.recordAttempt(await claimOne(), attempt, { status: 'pending', delayMs: 0 })
    const claimed = await claimOne()
    await store.redeliver('acme', 'whd_1')
    await store.postpone(claimed, 60_000)
    const again = await claimOne()
    expect(again).toMatchObject({ id: 'whd_1', attemptsMade: 0 })
    await store.recordAttempt(again, attempt, { status: 'delivered' })
    expect((await claim()).claimed).toEqual([])
  })

  it('does not let an attempt after its lease postpone', async () => {
    await create('whd_1')
    const slow = await claimOne()
    await endLeases()
    await claimOne()
    await store.postpone(slow, 0)
    expect((await claim()).claimed).toEqual([])
  })

  it.each(['delivered', 'failed'] as const)(
    'makes a %s delivery due at once with a fresh schedule',
    async (status) => {
      await create('whd_1')
      await store.recordAttempt(await claimOne(), attempt, { status })
      const redelivered = await store.redeliver('acme', 'whd_1')
      expect(redelivered).toMatchObject({ id: 'whd_1', status: 'pending', attempts: [attempt] })
      expect(await claimOne()).toMatchObject({ id: 'whd_1', attemptsMade: 0 })
    },
  )

  it('redelivers after the attempt that is under way, not beside it', async () => {
    await create('whd_1')
    const claimed = await claimOne()
    await store.redeliver('acme', 'whd_1')
    expect((await claim()).claimed).toEqual([])
    await store.recordAttempt(claimed, delivered, { status: 'delivered' })
    const again = await claimOne()
    expect(again.id).toBe('whd_1')
    await store.recordAttempt(again, delivered, { status: 'delivered' })
    expect((await claim()).claimed).toEqual([])
  })

  it('says on the wake channel that something is due', async () => {
    const subscriber = redis.duplicate()
    const heard: string[] = []
    subscriber.on('message', (_channel, id) => heard.push(id))
    await subscriber.subscribe(`${root('acme')}:webhooks:wake`)
    await create('whd_1')
    await expect.poll(() => heard).toEqual(['whd_1'])
    await store.redeliver('acme', 'whd_1')
    await expect.poll(() => heard).toEqual(['whd_1', 'whd_1'])
    await subscriber.quit()
  })
})
