import { describe, expect, it } from 'vitest'
import { acmeKey, chatJob, parseTestConfig } from '../../helpers/api.ts'
import { testRedis } from '../../helpers/redis.ts'
import { openServiceWorker, openTestService, placeService } from '../../helpers/service.ts'

/** Six requests a minute: every job waits ten seconds for the one before it. */
async function open() {
  const place = testRedis()
  const config = parseTestConfig({
    ...placeService(place),
    tenants: { acme: { keys: [acmeKey] } },
    providers: {
      openai: {
        kind: 'openai',
        base_url: 'http://127.0.0.1:9/v1',
        api_key: 'unused',
        limits: { requests_per_minute: 6, headroom: 1 },
        models: { small: {} },
      },
    },
  })
  return { service: await openTestService(config), worker: openServiceWorker(config) }
}

const inMs = (ms: number) => new Date(Date.now() + ms).toISOString()
const many = (count: number, extra: Record<string, unknown> = {}) =>
  Array.from({ length: count }, (_, number) => chatJob(extra, `waiting ${number}`))

/** A forecast reads a lane again once the last reading is this old. */
const forgetForecasts = () => new Promise((resolve) => setTimeout(resolve, 300))

describe('a deadline', { timeout: 60_000 }, () => {
  it('is no reason to refuse the job that an idempotency key has made already', async () => {
    const { service } = await open()
    const job = chatJob({ deadline: inMs(20_000) }, 'first')
    const first = await service.submit(job, acmeKey, { 'idempotency-key': 'once' })
    await service.submitAll(many(50), acmeKey)
    await forgetForecasts()
    const again = await service.submit(job, acmeKey, { 'idempotency-key': 'once' })
    expect(again.body.id).toBe(first.body.id)
  })

  it('is no reason to refuse a job that a kept answer or an equal job under way answers', async () => {
    const { service, worker } = await open()
    const known = await service.submit(chatJob({}, 'known'), acmeKey)
    await worker.finish(known.body.id)
    await service.submitAll(many(50), acmeKey)
    await forgetForecasts()
    const hit = await service.submit(chatJob({ deadline: inMs(5000) }, 'known'), acmeKey)
    expect([hit.status, hit.body.cache]).toEqual([200, 'hit'])
    const follower = await service.submit(chatJob({ deadline: inMs(5000) }, 'waiting 0'), acmeKey)
    expect([follower.status, follower.body.cache]).toEqual([202, 'shared'])
    const alone = await service.submit(chatJob({ deadline: inMs(5000) }, 'new'), acmeKey)
    expect([alone.status, alone.body.error?.code]).toEqual([422, 'deadline_unreachable'])
  })

  it('can be met behind a backlog that was cancelled', async () => {
    const { service } = await open()
    for (const { id } of await service.submitAll(many(30), acmeKey)) {
      await service.call('POST', `/v1/jobs/${id}/cancel`, { key: acmeKey })
    }
    await forgetForecasts()
    expect((await service.submit(chatJob({ deadline: inMs(60_000) }, 'now'), acmeKey)).status).toBe(202)
  })

  it('can be met beside jobs that are scheduled for later', async () => {
    const { service } = await open()
    await service.submitAll(many(50, { delay_ms: 3_600_000 }), acmeKey)
    await forgetForecasts()
    expect((await service.submit(chatJob({ deadline: inMs(60_000) }, 'now'), acmeKey)).status).toBe(202)
  })
})

describe('the forecast of a follower', () => {
  it('is that of the job whose answer it gets, independent of its own priority', {
    timeout: 60_000,
  }, async () => {
    const { service } = await open()
    await service.submitAll(many(20), acmeKey)
    const leader = await service.submit(chatJob({ priority: 'low' }, 'same'), acmeKey)
    const follower = await service.submit(chatJob({ priority: 'high' }, 'same'), acmeKey)
    await forgetForecasts()
    const startOf = async (id: string) => Date.parse((await service.job(id, acmeKey)).estimated_start_at!)
    expect(Math.abs((await startOf(follower.body.id)) - (await startOf(leader.body.id)))).toBeLessThan(1500)
  })
})
