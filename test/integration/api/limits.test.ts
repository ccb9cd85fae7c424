import { describe, expect, it } from 'vitest'
import type { Config, ConfigInput } from '../../../config/schema.ts'
import { acmeKey, chatJob, otherKey, parseTestConfig } from '../../helpers/api.ts'
import { testRedis } from '../../helpers/redis.ts'
import {
  type BulkAnswer,
  openServiceWorker,
  openTestService,
  placeService,
  type TestService,
} from '../../helpers/service.ts'

type Limits = NonNullable<NonNullable<ConfigInput['tenants']>[string]['limits']>

/** A service whose tenant `acme` is limited. A job of `openai/small` costs a dollar for each token it may answer. */
function configOf(limits: Limits, lane: { requests_per_minute?: number } = {}): Config {
  const price = { input: 0, output: 1_000_000 }
  return parseTestConfig({
    ...placeService(testRedis()),
    tenants: { acme: { keys: [acmeKey], limits }, other: { keys: [otherKey] } },
    providers: {
      openai: {
        kind: 'openai',
        base_url: 'http://127.0.0.1:9/v1',
        api_key: 'unused',
        limits: { ...lane, headroom: 1 },
        models: { small: { price }, free: {} },
      },
    },
  })
}

let texts = 0
/** A job with this expected cost, unlike any other unless its text is given. */
function jobOf(usd: number, members: Record<string, unknown> = {}, text = `text ${++texts}`) {
  const messages = [{ role: 'user', content: text }]
  return chatJob({ body: { model: 'openai/small', messages, max_tokens: usd }, ...members })
}
const jobsOf = (count: number, usd = 1) => Array.from({ length: count }, () => jobOf(usd))

/** Submits all at once, alternating between the services, and answers the results: 'ok' or the code. */
async function submitTo(services: TestService[], jobs: object[]): Promise<string[]> {
  return Promise.all(
    jobs.map(async (job, index) => {
      const { body } = await services[index % services.length]!.submit(job, acmeKey)
      return body.error?.code ?? 'ok'
    }),
  )
}

const codesOf = (answers: BulkAnswer[]) => answers.map(({ error }) => error?.code ?? 'ok')
const countOf = (codes: string[], code: string) => codes.filter((each) => each === code).length

describe('max_queued', () => {
  it('refuses one more open job with 429, and says in Retry-After how fast the lane makes room', async () => {
    // One job in ten seconds: the fifth starts in fifty, and each of the five places is free ten seconds on.
    const service = await openTestService(configOf({ max_queued: 5 }, { requests_per_minute: 6 }))
    expect(codesOf(await service.submitAll(jobsOf(5), acmeKey))).toEqual(Array(5).fill('ok'))
    const refused = await service.submit(jobOf(1), acmeKey)
    expect(refused.status).toBe(429)
    expect(refused.body.error).toMatchObject({ code: 'queue_full', type: 'rate_limit_error', param: null })
    expect(refused.headers.get('x-should-retry')).toBeNull()
    await expect
      .poll(async () => (await service.submit(jobOf(1), acmeKey)).headers.get('retry-after'))
      .toBe('10')
  })

  it('counts open jobs alone: a job that ends, by itself or by hand, makes room', async () => {
    const config = configOf({ max_queued: 3 })
    const service = await openTestService(config)
    const worker = openServiceWorker(config)
    const ids: string[] = []
    for (const job of jobsOf(3)) ids.push((await service.submit(job, acmeKey)).body.id)
    const isFull = async () => (await service.submit(jobOf(1), acmeKey)).body.error?.code
    expect(await isFull()).toBe('queue_full')
    await worker.finish(ids[0]!)
    expect(await isFull()).toBeUndefined()
    expect(await isFull()).toBe('queue_full')
    await service.call('POST', `/v1/jobs/${ids[1]}/cancel`, { key: acmeKey })
    expect(await isFull()).toBeUndefined()
    await service.call('DELETE', `/v1/jobs/${ids[2]}`, { key: acmeKey })
    expect(await isFull()).toBeUndefined()
    expect(await isFull()).toBe('queue_full')
  })

  it('counts scheduled jobs and followers, and leaves other tenants alone', async () => {
    const service = await openTestService(configOf({ max_queued: 3 }))
    const jobs = [jobOf(1, { delay_ms: 60_000 }), jobOf(1, {}, 'same'), jobOf(1, {}, 'same'), jobOf(1)]
    expect(codesOf(await service.submitAll(jobs, acmeKey))).toEqual(['ok', 'ok', 'ok', 'queue_full'])
    expect((await service.submit(jobOf(1), otherKey)).status).toBe(202)
  })

  it('is kept by two instances together', async () => {
    const config = configOf({ max_queued: 7 })
    const services = [await openTestService(config), await openTestService(config)]
    const codes = await submitTo(services, jobsOf(30))
    expect([countOf(codes, 'ok'), countOf(codes, 'queue_full')]).toEqual([7, 23])
  })
})

describe('per_fair_key', () => {
  it('refuses one more open job of a key on every way in, names the key, and leaves others alone', async () => {
    const config = configOf({})
    config.tenants.acme!.per_fair_key = { max_queued: 2 }
    const service = await openTestService(config)
    const ann = (members: object = {}) => jobOf(1, { fair_key: 'ann "a" b', ...members })
    const answers = await service.submitAll([ann(), ann(), ann(), jobOf(1, { fair_key: 'bob' })], acmeKey)
    expect(codesOf(answers)).toEqual(['ok', 'ok', 'queue_full', 'ok'])
    const refused = await service.submit(ann(), acmeKey)
    expect(refused.status).toBe(429)
    expect(refused.headers.get('retry-after')).toBe('5')
    expect(refused.body.error).toMatchObject({ code: 'queue_full', param: 'fair_key' })
    expect(refused.body.error.message).toContain('fair_key "ann \\"a\\" b"')
    const prompt = [{ role: 'user', content: 'hello' }]
    for (const path of ['/v1/chat/completions', '/v1/messages']) {
      const body = { model: 'openai/small', max_tokens: 1, messages: prompt }
      const call = (header: string) =>
        service.call('POST', path, { key: acmeKey, body, headers: { 'x-fair-key': header } })
      const full = await call('ann "a" b')
      expect([path, full.status]).toEqual([path, 429])
      expect(JSON.stringify(full.body)).toContain('max_queued: 2')
      const invalid = await call('x'.repeat(300))
      expect([path, invalid.status]).toEqual([path, 400])
      expect(JSON.stringify(invalid.body)).toContain('x-fair-key: expected 1 to 256 characters')
    }
  })
})

describe('requests_per_minute', () => {
  it('refuses faster submissions with 429, and says in Retry-After when the next may come', async () => {
    const service = await openTestService(configOf({ requests_per_minute: 6 }))
    expect(codesOf(await service.submitAll(jobsOf(6), acmeKey))).toEqual(Array(6).fill('ok'))
    const refused = await service.submit(jobOf(1), acmeKey)
    expect(refused.status).toBe(429)
    expect(refused.body.error).toMatchObject({ code: 'rate_limited', type: 'rate_limit_error' })
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThanOrEqual(8)
    expect(Number(refused.headers.get('retry-after'))).toBeLessThanOrEqual(10)
    expect((await service.submit(jobOf(1), otherKey)).status).toBe(202)
  })

  it('is kept by two instances together', async () => {
    const config = configOf({ requests_per_minute: 6 })
    const services = [await openTestService(config), await openTestService(config)]
    const codes = await submitTo(services, jobsOf(30))
    expect([countOf(codes, 'ok'), countOf(codes, 'rate_limited')]).toEqual([6, 24])
  })

  it('admits again what has become due', async () => {
    const service = await openTestService(configOf({ requests_per_minute: 120 }))
    const codes = codesOf(await service.submitAll(jobsOf(150), acmeKey))
    expect(countOf(codes, 'ok')).toBeGreaterThanOrEqual(120)
    expect(countOf(codes, 'rate_limited')).toBeGreaterThan(0)
    const refused = await service.submit(jobOf(1), acmeKey)
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '1'])
    await expect.poll(async () => (await service.submit(jobOf(1), acmeKey)).status).toBe(202)
  })

  it('does not count a request that is repeated under its idempotency key', async () => {
    const service = await openTestService(configOf({ requests_per_minute: 2 }))
    const job = jobOf(1)
    const submit = () => service.submit(job, acmeKey, { 'idempotency-key': 'k' })
    expect((await submit()).status).toBe(202)
    for (let time = 0; time < 5; time++) expect((await submit()).status).toBe(200)
    expect((await service.submit(jobOf(1), acmeKey)).status).toBe(202)
    expect((await submit()).status).toBe(200)
    expect((await service.submit(jobOf(1), acmeKey)).status).toBe(429)
  })
})

describe('budget_usd_per_day', () => {
  it('refuses a job over the budget with 429, and says in Retry-After when the day ends', async () => {
    const service = await openTestService(configOf({ budget_usd_per_day: 10 }))
    expect((await service.submit(jobOf(8), acmeKey)).status).toBe(202)
    const refused = await service.submit(jobOf(3), acmeKey)
    const toMidnight = (86_400_000 - (Date.now() % 86_400_000)) / 1000
    expect(refused.status).toBe(429)
    expect(refused.body.error).toMatchObject({ code: 'budget_exhausted', type: 'rate_limit_error' })
    expect(Math.abs(Number(refused.headers.get('retry-after')) - toMidnight)).toBeLessThan(5)
    expect((await service.submit(jobOf(2), acmeKey)).status).toBe(202)
    expect((await service.submit(jobOf(1), acmeKey)).status).toBe(429)
    expect((await service.submit(jobOf(9), otherKey)).status).toBe(202)
  })

  it('is kept by two instances together', async () => {
    const config = configOf({ budget_usd_per_day: 7 })
    const services = [await openTestService(config), await openTestService(config)]
    const codes = await submitTo(services, jobsOf(30))
    expect([countOf(codes, 'ok'), countOf(codes, 'budget_exhausted')]).toEqual([7, 23])
  })

  it('refuses lines of a bulk submission one by one', async () => {
    const service = await openTestService(configOf({ budget_usd_per_day: 10 }))
    const jobs = [4, 7, 3, 9, 3, 1].map((usd) => jobOf(usd))
    const answers = await service.submitAll(jobs, acmeKey)
    expect(codesOf(answers)).toEqual([
      'ok',
      'budget_exhausted',
      'ok',
      'budget_exhausted',
      'ok',
      'budget_exhausted',
    ])
    for (const { error } of answers.filter((answer) => answer.error)) {
      expect(Object.keys(error!).sort()).toEqual(['code', 'message', 'param', 'type'])
    }
  })

  it('admits jobs that cost nothing, although all is spent', async () => {
    const config = configOf({ budget_usd_per_day: 5 })
    const service = await openTestService(config)
    const worker = openServiceWorker(config)
    const answered = await service.submit(jobOf(4, {}, 'answered'), acmeKey)
    await worker.finish(answered.body.id, { costUsd: 4 })
    const underway = await service.submit(jobOf(1, {}, 'underway'), acmeKey)
    expect(underway.status).toBe(202)
    expect((await service.submit(jobOf(1), acmeKey)).body.error?.code).toBe('budget_exhausted')

    const hit = await service.submit(jobOf(4, {}, 'answered'), acmeKey)
    expect([hit.status, hit.body.cache, hit.body.cost_usd]).toEqual([200, 'hit', 0])
    const follower = await service.submit(jobOf(1, {}, 'underway'), acmeKey)
    expect([follower.status, follower.body.cache]).toEqual([202, 'shared'])
    const free = { ...jobOf(1), body: { model: 'openai/free', messages: [{ role: 'user', content: 'x' }] } }
    expect((await service.submit(free, acmeKey)).status).toBe(202)
    // A call of its own costs again, even if the answer is known.
    for (const cache of ['refresh', 'off']) {
      const own = await service.submit(jobOf(4, { cache }, 'answered'), acmeKey)
      expect(own.body.error?.code).toBe('budget_exhausted')
    }
  })

  it('holds the possible cost of an open job until the job ends, and then its real cost', async () => {
    const config = configOf({ budget_usd_per_day: 10 })
    const service = await openTestService(config)
    const worker = openServiceWorker(config)
    const submit = async (usd: number) => (await service.submit(jobOf(usd), acmeKey)).body
    /** Whole dollars that another job may cost, found by trying; the trial jobs are deleted again. */
    const findRoom = async () => {
      for (let usd = 10; usd > 0; usd--) {
        const { error, id } = await submit(usd)
        if (!error) {
          await service.call('DELETE', `/v1/jobs/${id}`, { key: acmeKey })
          return usd
        }
      }
      return 0
    }
    expect(await findRoom()).toBe(10)
    const { id: done } = await submit(4)
    expect(await findRoom()).toBe(6)
    await worker.finish(done, { costUsd: 1 })
    expect(await findRoom()).toBe(9)

    const { id: failed } = await submit(5)
    expect(await findRoom()).toBe(4)
    await worker.finishFailed(failed)
    expect(await findRoom()).toBe(9)

    const { id: cancelled } = await submit(6)
    expect(await findRoom()).toBe(3)
    await service.call('POST', `/v1/jobs/${cancelled}/cancel`, { key: acmeKey })
    expect(await findRoom()).toBe(9)

    const { id: deleted } = await submit(7)
    expect(await findRoom()).toBe(2)
    await service.call('DELETE', `/v1/jobs/${deleted}`, { key: acmeKey })
    expect(await findRoom()).toBe(9)

    // Deleting a paid job returns nothing.
    await service.call('DELETE', `/v1/jobs/${done}`, { key: acmeKey })
    expect(await findRoom()).toBe(9)
  })

  it('is held by the job that calls: a follower holds nothing until it leads', async () => {
    const service = await openTestService(configOf({ budget_usd_per_day: 10 }))
    const submit = async (usd: number, text?: string) =>
      (await service.submit(jobOf(usd, {}, text), acmeKey)).body
    const leader = await submit(6, 'same')
    expect((await submit(6, 'same')).cache).toBe('shared')
    expect((await submit(4)).status).toBe('queued')
    expect((await submit(1)).error?.code).toBe('budget_exhausted')
    await service.call('POST', `/v1/jobs/${leader.id}/cancel`, { key: acmeKey })
    // The call still has to be made, now by the follower.
    expect((await submit(1)).error?.code).toBe('budget_exhausted')
  })
})
