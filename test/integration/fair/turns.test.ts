import { describe, expect, it } from 'vitest'
import { answerOf, type FairService, openFairService, promptOf } from '../../helpers/fair-service.ts'
import { answer } from '../../helpers/upstream.ts'

const LIMITS = { requests_per_minute: 600, headroom: 1 }
const flood = Array.from({ length: 1000 }, (_, index) => `flood ${index}`)

/** Calls of the flood that leave between now and the quiet tenant's answer. */
async function overtakenBy(fair: FairService): Promise<number> {
  const before = fair.upstream.calls.length
  const [id] = await fair.submit('quiet', [`quiet ${before}`])
  const { job } = await fair.ended('quiet', id!)
  expect(job.status).toBe('completed')
  return fair.upstream.calls.slice(before).filter(({ body }) => promptOf(body).startsWith('flood')).length
}

/** Between a job of its own and one of the flood for each step of the order, and what may be in a worker's hands. */
const SHARE = 20

describe('a quiet tenant beside a flood has its turn', () => {
  it.each([['up/chat'], ['fast']])('after a pause of a lane with a successor, by %s', async (model) => {
    const fair = await openFairService({
      tenants: ['flood', 'quiet'],
      limits: LIMITS,
      routes: { fast: ['up/chat', 'up/second'] },
    })
    await fair.steer('pause', { for_ms: 60_000 })
    await fair.steer('pause', { for_ms: 60_000 }, 'up/second')
    await fair.submit('flood', flood, { body: { model } })
    const handedOver = async () => {
      const { backlog } = await fair.lane(model === 'fast' ? 'up/second' : 'up/chat')
      return backlog.delayed + (model === 'fast' ? backlog.waiting : 0)
    }
    await expect.poll(handedOver, { timeout: 20_000 }).toBeGreaterThan(900)
    await fair.steer('resume')
    await fair.steer('resume', undefined, 'up/second')
    await expect.poll(() => fair.upstream.calls.length, { timeout: 20_000 }).toBeGreaterThan(0)
    expect(await overtakenBy(fair)).toBeLessThan(SHARE)
  })

  it('after a 429, and after a restart of the worker', async () => {
    const fair = await openFairService({ tenants: ['flood', 'quiet'], limits: LIMITS })
    let refused = 0
    fair.upstream.script = ({ body }, response) => {
      if (refused++ >= 3) return answerOf(body, response)
      response.setHeader('retry-after', '2')
      answer(response, 429, { error: { message: 'slow down', code: 'rate_limit_exceeded' } })
    }
    await fair.submit('flood', flood)
    await expect.poll(() => fair.upstream.calls.length, { timeout: 10_000 }).toBeGreaterThan(10)
    expect(await overtakenBy(fair)).toBeLessThan(SHARE)
    await fair.restartWorker()
    expect(await overtakenBy(fair)).toBeLessThan(SHARE)
  })
})

it('a quiet end user beside a flood of another of the same tenant has its turn, also after a pause and a restart', async () => {
  const fair = await openFairService({ tenants: ['acme'], limits: LIMITS })
  await fair.submit('acme', flood, { fair_key: 'flood@example.com' })
  await expect.poll(() => fair.upstream.calls.length, { timeout: 10_000 }).toBeGreaterThan(10)
  const overtaken = async () => {
    const before = fair.upstream.calls.length
    const [id] = await fair.submit('acme', [`quiet ${before}`], { fair_key: 'quiet@example.com' })
    const { job } = await fair.ended('acme', id!)
    expect(job).toMatchObject({ status: 'completed', fair_key: 'quiet@example.com' })
    return fair.upstream.calls.slice(before).filter(({ body }) => promptOf(body).startsWith('flood')).length
  }
  expect(await overtaken()).toBeLessThan(SHARE)
  await fair.steer('pause', { for_ms: 60_000 })
  await fair.steer('resume')
  await fair.restartWorker()
  expect(await overtaken()).toBeLessThan(SHARE)
})

it('a fair key has as many calls under way as it may, and the next one begins when one ends', async () => {
  const fair = await openFairService({ tenants: ['acme'], perFairKey: { max_running: 2 } })
  let under = 0
  let most = 0
  fair.upstream.script = ({ body }, response) => {
    most = Math.max(most, ++under)
    setTimeout(() => {
      under--
      answerOf(body, response)
    }, 30)
  }
  const prompts = Array.from({ length: 20 }, (_, at) => `prompt ${at}`)
  const ids = await fair.submit('acme', prompts, { fair_key: 'ann' })
  const startedAt = performance.now()
  for (const id of ids) expect((await fair.ended('acme', id)).job.status).toBe('completed')
  expect(most).toBe(2)
  // Ten rounds of 30 ms: nothing waits for a sweep.
  expect(performance.now() - startedAt).toBeLessThan(8000)
  const calls = Array.from({ length: 6 }, (_, at) =>
    fair.service.call('POST', '/v1/chat/completions', {
      key: 'key-of-acme-0123456789',
      body: { model: 'up/chat', messages: [{ role: 'user', content: `at once ${at}` }], user: 'ann' },
    }),
  )
  expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(Array(6).fill(200))
  expect(most).toBe(2)
})

it('a lane that is resumed sends the job that met the 429, too', async () => {
  const fair = await openFairService({ tenants: ['a'], limits: LIMITS })
  let refuses = true
  fair.upstream.script = ({ body }, response) => {
    if (!refuses) return answerOf(body, response)
    refuses = false
    response.setHeader('retry-after', '86400')
    answer(response, 429, { error: { message: 'slow down', code: 'rate_limit_exceeded' } })
  }
  const [id] = await fair.submit('a', ['one'])
  await expect.poll(async () => (await fair.lane()).paused_until).not.toBeNull()
  await expect.poll(async () => (await fair.job('a', id!)).status).toBe('queued')
  await fair.steer('resume')
  const { job, ms } = await fair.ended('a', id!)
  expect(job.status).toBe('completed')
  expect(ms).toBeLessThan(20_000)
})

it('says when a job starts within a quarter, beside a flood that was paused', async () => {
  const fair = await openFairService({
    tenants: ['flood', 'quiet'],
    limits: LIMITS,
    routes: { fast: ['up/chat', 'up/second'] },
  })
  await fair.steer('pause', { for_ms: 60_000 })
  await fair.submit('flood', flood)
  await expect.poll(async () => (await fair.lane()).backlog.delayed, { timeout: 20_000 }).toBeGreaterThan(900)
  await fair.steer('resume')
  await expect.poll(() => fair.upstream.calls.length, { timeout: 10_000 }).toBeGreaterThan(30)
  const [id] = await fair.submit('flood', ['the last'])
  const { estimated_start_at: estimate } = await fair.job('flood', id!)
  const left = 1000 - fair.upstream.calls.length
  if (estimate !== null) {
    const seconds = (Date.parse(estimate) - Date.now()) / 1000
    expect(seconds / (left / 10)).toBeGreaterThan(0.75)
    expect(seconds / (left / 10)).toBeLessThan(1.25)
  }
})
