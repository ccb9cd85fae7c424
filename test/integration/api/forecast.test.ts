import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { resolveLane } from '../../../config/lanes.ts'
import type { Config } from '../../../config/schema.ts'
import type { GroupSummary, Job } from '../../../jobs/job.ts'
import { closeRedis, createRedis, type RedisClient } from '../../../lib/redis.ts'
import { createFairness } from '../../../ratelimit/create-fairness.ts'
import { createGate } from '../../../ratelimit/create-gate.ts'
import type { Gate } from '../../../ratelimit/gate.ts'
import { acmeKey, chatJob, opsKey, otherKey, parseTestConfig } from '../../helpers/api.ts'
import { testRedis } from '../../helpers/redis.ts'
import { openServiceWorker, openTestService, placeService, type TestService } from '../../helpers/service.ts'
import { until } from '../../helpers/store.ts'

const heavyKey = 'heavy-key-0123456789'
/** The time of one job in its lane, which allows six a minute. */
const SLOT_MS = 10_000

let config: Config
let service: TestService
let redis: RedisClient
let gate: Gate
beforeEach(async () => {
  const place = testRedis()
  config = parseTestConfig({
    ...placeService(place),
    tenants: {
      acme: { keys: [acmeKey] },
      other: { keys: [otherKey] },
      heavy: { keys: [heavyKey], weight: 3 },
      ops: { keys: [opsKey], admin: true },
    },
    providers: {
      openai: {
        kind: 'openai',
        base_url: 'http://127.0.0.1:9/v1',
        api_key: 'unused',
        limits: { requests_per_minute: 6, headroom: 1 },
        models: { small: {}, unlimited: {} },
      },
      open: {
        kind: 'openai-compatible',
        base_url: 'http://127.0.0.1:9/v1',
        api_key: 'unused',
        models: { small: {} },
      },
    },
  })
  service = await openTestService(config)
  redis = createRedis({ ...place, role: 'commands', name: 'test-forecast' })
  onTestFinished(() => closeRedis(redis))
  gate = createGate({ redis, prefix: place.prefix })
})

let texts = 0
const jobOf = (members: Record<string, unknown> = {}) => chatJob(members, `text ${++texts}`)
const jobsOf = (count: number, members?: Record<string, unknown>) =>
  Array.from({ length: count }, () => jobOf(members))
const inMs = (ms: number) => new Date(Date.now() + ms).toISOString()

async function fill(count: number, key = acmeKey, members: Record<string, unknown> = {}): Promise<string[]> {
  const answers = await service.submitAll(jobsOf(count, members), key)
  return answers.map(({ id }) => id!)
}

/** The distance of a time from now in jobs, rounded. */
function slotsUntil(time: string | null): number {
  const slots = Math.round((Date.parse(time ?? '') - Date.now()) / SLOT_MS)
  return slots === 0 ? 0 : slots // Not -0.
}
const slotsOf = async (ids: string[], key = acmeKey) =>
  Promise.all(ids.map(async (id) => slotsUntil((await service.job(id, key)).estimated_start_at)))

/** A lane's queue is read four times a second: a change shows a moment later. */
const eventually = { timeout: 15_000, interval: 100 }

describe('a job that waits', () => {
  it('starts at once in a lane that is empty', async () => {
    const { body } = await service.submit(jobOf(), acmeKey)
    expect(Math.abs(Date.parse(body.estimated_start_at!) - Date.now())).toBeLessThan(10_000)
    expect(body.waiting_for).toBeNull()
  })

  it('starts after those before it, one by one, read alone or in a list', async () => {
    const ids = await fill(8)
    await expect.poll(() => slotsOf(ids), eventually).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
    const list = await service.call<{ data: Job[] }>('GET', '/v1/jobs', { key: acmeKey })
    const slots = new Map(list.body.data.map((job) => [job.id, slotsUntil(job.estimated_start_at)]))
    expect(ids.map((id) => slots.get(id))).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
  })

  it('starts in the turn of its fair key, and not behind the flood of another', async () => {
    const flood = await fill(8, acmeKey, { fair_key: 'flood' })
    await expect.poll(() => slotsOf(flood.slice(-1)), eventually).toEqual([7])
    const { body } = await service.submit(jobOf({ fair_key: 'quiet' }), acmeKey)
    // Its own entry may be there already when the answer's forecast is made.
    expect(slotsUntil(body.estimated_start_at)).toBeLessThanOrEqual(2)
    // The first of the flood has the turn before it.
    await expect.poll(() => slotsOf([body.id]), eventually).toEqual([1])
    await expect.poll(() => slotsOf([flood[0]!, flood[1]!, flood[7]!]), eventually).toEqual([0, 2, 8])
  })

  it('learns when it starts in the answer to its creation', async () => {
    await fill(8)
    await expect
      .poll(async () => {
        const { body } = await service.submit(jobOf({ priority: 'low' }), acmeKey)
        await service.call('DELETE', `/v1/jobs/${body.id}`, { key: acmeKey })
        return slotsUntil(body.estimated_start_at)
      }, eventually)
      .toBeGreaterThanOrEqual(8)
  })

  it('comes nearer as those before it are served', async () => {
    const worker = openServiceWorker(config)
    const ids = await fill(8)
    for (let served = 0; served < 3; served++) await worker.next()
    // The third has just left: the next goes one slot after it.
    await expect.poll(() => slotsOf(ids.slice(3)), eventually).toEqual([1, 2, 3, 4, 5])
  })

  it('alternates with the jobs of other tenants, by their weights', async () => {
    const flood = await fill(60)
    const others = await fill(3, otherKey)
    const heavy = await fill(4, heavyKey)
    // For each job of acme and of other there are three of heavy, which has four.
    await expect.poll(() => slotsOf(others, otherKey), eventually).toEqual([0, 5, 8])
    expect(await slotsOf(heavy, heavyKey)).toEqual([0, 2, 3, 5])
    expect(await slotsOf([flood[59]!])).toEqual([66])
  })

  it('goes before those of lower priority and after those of higher', async () => {
    await fill(20)
    const high = await fill(2, acmeKey, { priority: 'high' })
    const low = await fill(2, acmeKey, { priority: 'low' })
    await expect.poll(() => slotsOf(high), eventually).toEqual([0, 1])
    expect(await slotsOf(low)).toEqual([22, 23])
  })

  it('is fetched in the order of the estimates', async () => {
    const worker = openServiceWorker(config)
    const groups = [
      { key: acmeKey, ids: await fill(6, acmeKey, { priority: 'low' }) },
      { key: acmeKey, ids: await fill(6) },
      { key: otherKey, ids: await fill(3, otherKey) },
      { key: heavyKey, ids: await fill(9, heavyKey) },
      { key: acmeKey, ids: await fill(2, acmeKey, { priority: 'high' }) },
    ]
    const estimates = new Map<string, number>()
    const estimate = async () => {
      for (const { key, ids } of groups) {
        for (const [index, slots] of (await slotsOf(ids, key)).entries()) estimates.set(ids[index]!, slots)
      }
      return Math.max(...estimates.values())
    }
    await expect.poll(estimate, eventually).toBe(25)
    const fetched: number[] = []
    while (fetched.length < estimates.size) fetched.push(estimates.get((await worker.next()).claimed.id)!)
    expect(fetched).toEqual(fetched.toSorted((a, b) => a - b))
    expect(new Set(fetched).size).toBeGreaterThan(15)
  })

  it('starts no sooner than its lane opens, and says so', async () => {
    const ids = await fill(3)
    const pause = { key: opsKey, body: { for_ms: 600_000 } }
    await service.call('POST', '/v1/lanes/openai/small/pause', pause)
    await expect.poll(() => slotsOf(ids), eventually).toEqual([60, 61, 62])
    expect((await service.job(ids[1]!, acmeKey)).waiting_for).toBe('provider_pause')
    await service.call('POST', '/v1/lanes/openai/small/resume', { key: opsKey })
    await expect.poll(() => slotsOf(ids), eventually).toEqual([0, 1, 2])
    expect((await service.job(ids[1]!, acmeKey)).waiting_for).toBeNull()
  })

  it('starts later when the provider allows less than configured', async () => {
    const ids = await fill(4)
    const lane = resolveLane(config, 'openai/small')!
    const cost = { requests: 1, tokens: 0, inputTokens: 0, outputTokens: 0 }
    let permit: string | undefined
    await until(async () => {
      permit = (await gate.take(lane, [{ cost }])).permits[0]
      return permit !== undefined
    })
    await gate.settle(lane, [{ permit: permit!, actual: cost, feedback: { limitRequests: 3 } }])
    await expect.poll(() => slotsOf(ids), eventually).toEqual([0, 2, 4, 6])
  })

  it('says what its lane waits for', async () => {
    const [id] = await fill(2)
    const fairness = createFairness({ redis, prefix: config.redis.prefix })
    for (const waitingFor of ['tokens', 'concurrency', null] as const) {
      await fairness.note('openai/small', waitingFor)
      await expect
        .poll(async () => (await service.job(id!, acmeKey)).waiting_for, eventually)
        .toBe(waitingFor)
    }
  })

  it('starts at once in a lane without limits, however much waits there', async () => {
    const body = { model: 'open/small', messages: [{ role: 'user', content: 'hello' }] }
    const ids = await fill(5, acmeKey, { body, cache: 'off' })
    await expect.poll(() => slotsOf(ids), eventually).toEqual([0, 0, 0, 0, 0])
  })
})

describe('a job that waits for more than its turn', () => {
  it('for another’s answer starts when that one does', async () => {
    await fill(5)
    const first = await service.submit(chatJob({}, 'the same'), acmeKey)
    const second = await service.submit(chatJob({}, 'the same'), acmeKey)
    expect(second.body.cache).toBe('shared')
    await expect.poll(() => slotsOf([first.body.id, second.body.id]), eventually).toEqual([5, 5])
    const [follower, leader] = (
      await service.call<{ data: Job[] }>('GET', '/v1/jobs?limit=2', { key: acmeKey })
    ).body.data
    expect(follower!.estimated_start_at).toBe(leader!.estimated_start_at)
  })

  it('for a time of its own starts then, and waits for its schedule', async () => {
    const runAt = inMs(3_600_000)
    const { status, body } = await service.submit(jobOf({ run_at: runAt }), acmeKey)
    const told = { status: 'scheduled', run_at: runAt, estimated_start_at: runAt, waiting_for: 'schedule' }
    expect([status, body]).toMatchObject([202, told])
    expect(await service.job(body.id, acmeKey)).toMatchObject(told)
    const list = await service.call<{ data: Job[] }>('GET', '/v1/jobs?status=scheduled', { key: acmeKey })
    expect(list.body.data).toMatchObject([told])
  })

  it('for its next attempt starts then, or in its turn if that is later', async () => {
    const worker = openServiceWorker(config)
    const ids = await fill(1)
    const at = Date.now() + 20 * SLOT_MS
    await worker.retry(await worker.start(ids[0]!), at)
    const job = await service.job(ids[0]!, acmeKey)
    const when = new Date(at).toISOString()
    expect(job).toMatchObject({
      status: 'queued',
      next_attempt_at: when,
      estimated_start_at: when,
      waiting_for: 'retry_delay',
    })
  })

  it('no longer has no estimate', async () => {
    const worker = openServiceWorker(config)
    const ids = await fill(2)
    const running = await worker.start(ids[0]!)
    const told = { estimated_start_at: null, waiting_for: null }
    expect(await service.job(ids[0]!, acmeKey)).toMatchObject({ status: 'running', ...told })
    await worker.complete(running)
    expect(await service.job(ids[0]!, acmeKey)).toMatchObject({ status: 'completed', ...told })
    const cancelled = await service.call('POST', `/v1/jobs/${ids[1]}/cancel`, { key: acmeKey })
    expect(cancelled.body).toMatchObject({ status: 'cancelled', ...told })
  })

  it('ends its group: the last start is when the group is about to be done', async () => {
    await fill(4)
    await fill(3, acmeKey, { group: 'nightly' })
    await fill(4)
    const group = async () =>
      (await service.call<GroupSummary>('GET', '/v1/groups/nightly', { key: acmeKey })).body
    await expect.poll(async () => slotsUntil((await group()).estimated_finish_at), eventually).toBe(6)
  })
})

describe('a deadline', () => {
  /** The time that a refusal names. */
  const earliestOf = (message: string) => /(\d{4}-\S+Z) at the earliest/.exec(message)?.[1] ?? null

  it('that the backlog makes unreachable is refused, with the earliest time', async () => {
    await fill(20)
    const submit = (deadline: string, key = acmeKey, members = {}) =>
      service.submit(jobOf({ deadline, ...members }), key)
    await expect
      .poll(async () => {
        const { body } = await submit(inMs(10 * SLOT_MS))
        return slotsUntil(earliestOf(body.error?.message ?? ''))
      }, eventually)
      .toBe(20)

    const refused = await submit(inMs(10 * SLOT_MS))
    expect(refused.status).toBe(422)
    expect(refused.body.error).toMatchObject({
      code: 'deadline_unreachable',
      type: 'invalid_request_error',
      param: 'deadline',
    })
    expect(refused.headers.get('x-should-retry')).toBe('false')

    // The named time is valid: a little later is accepted, and nothing of the refused jobs was kept.
    const told = Date.parse(earliestOf(refused.body.error!.message)!)
    expect((await submit(new Date(told + 2000).toISOString())).status).toBe(202)
    const { body } = await service.call<{ data: Job[] }>('GET', '/v1/jobs?limit=100', { key: acmeKey })
    expect(body.data).toHaveLength(21)
    // A tenant that is served sooner may have an earlier deadline.
    expect((await submit(inMs(2 * SLOT_MS), otherKey)).status).toBe(202)
    expect((await submit(inMs(2 * SLOT_MS), acmeKey, { priority: 'high' })).status).toBe(202)
    expect((await submit(inMs(2 * SLOT_MS), acmeKey, { priority: 'low' })).status).toBe(422)
  })

  it('that a pause makes unreachable is refused in the same way', async () => {
    const pause = { key: opsKey, body: { for_ms: 600_000 } }
    await service.call('POST', '/v1/lanes/openai/small/pause', pause)
    const refused = await service.submit(jobOf({ deadline: inMs(60_000) }), acmeKey)
    expect(refused.body.error?.code).toBe('deadline_unreachable')
    expect(slotsUntil(earliestOf(refused.body.error!.message))).toBe(60)
    expect((await service.submit(jobOf({ deadline: inMs(660_000) }), acmeKey)).status).toBe(202)
  })

  it('that is past, or before the job may start, is refused without a look at the backlog', async () => {
    for (const members of [
      { deadline: inMs(-1000) },
      { deadline: inMs(60_000), delay_ms: 120_000 },
      { deadline: inMs(60_000), run_at: inMs(61_000) },
    ]) {
      const { status, body } = await service.submit(jobOf(members), acmeKey)
      expect([status, body.error?.code]).toEqual([422, 'deadline_unreachable'])
    }
  })

  it('in a bulk submission costs only its own line', async () => {
    await fill(20)
    const lines = [jobOf(), jobOf({ deadline: inMs(SLOT_MS) }), jobOf({ deadline: inMs(60 * SLOT_MS) })]
    await expect
      .poll(async () => {
        const answers = await service.submitAll(lines, acmeKey)
        return answers.map(({ error }) => error?.code ?? 'ok')
      }, eventually)
      .toEqual(['ok', 'deadline_unreachable', 'ok'])
  })
})
