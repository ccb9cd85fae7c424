import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { answerOf, openFairService, promptOf } from '../../helpers/fair-service.ts'
import { answer, type Script } from '../../helpers/upstream.ts'

/** A provider that answers 500 to every request with this word. */
const poisoned: Script = ({ body }, response) =>
  promptOf(body).includes('POISON')
    ? answer(response, 500, { error: { message: 'internal error' } })
    : answerOf(body, response)

type Call = Parameters<Script>[0]
type Response = Parameters<Script>[1]

const prompts = (count: number, text: string) =>
  Array.from({ length: count }, (_, index) => `${text} ${index}`)

describe('poison harms only itself', () => {
  it.each([
    ['one prompt with six attempts', ['POISON'], { max_attempts: 6 }],
    ['thirty different prompts', prompts(30, 'POISON'), { max_attempts: 3 }],
    [
      'thirty jobs with one prompt',
      Array.from({ length: 30 }, () => 'POISON'),
      { cache: 'off', max_attempts: 3 },
    ],
  ])('%s: others wait for at most two seconds', async (_what, poison, members) => {
    const fair = await openFairService({ tenants: ['bad', 'good'], limits: { max_concurrency: 4 } })
    fair.upstream.script = poisoned
    await fair.submit('bad', poison, members)
    for (let round = 0; round < 12; round++) {
      const [id] = await fair.submit('good', [`healthy ${round}`])
      const { job, ms } = await fair.ended('good', id!)
      expect(job.status).toBe('completed')
      expect(ms, `round ${round}`).toBeLessThan(2000)
      await sleep(100)
    }
  })

  it('also when its breaker is open for it, and when several tenants have poison', async () => {
    const bad = ['a', 'b', 'c', 'd', 'e', 'f']
    const fair = await openFairService({ tenants: [...bad, 'good'], limits: { max_concurrency: 4 } })
    fair.upstream.script = poisoned
    for (const tenant of bad) await fair.submit(tenant, prompts(10, `POISON of ${tenant}`))
    await expect.poll(async () => (await fair.lane()).breaker.state, { timeout: 10_000 }).toBe('open')
    for (let round = 0; round < 8; round++) {
      const [id] = await fair.submit('good', [`healthy ${round}`])
      const { job, ms } = await fair.ended('good', id!)
      expect(job.status).toBe('completed')
      expect(ms, `round ${round}`).toBeLessThan(2000)
      await sleep(200)
    }
  })

  // Most of their time they wait for calls, so they run side by side.
  it.concurrent.for([
    ['prompts that break after a second', poisoned],
    ['calls of a second that are answered', ({ body }: Call, response: Response) => answerOf(body, response)],
  ] as const)(
    'also %s: a job of another tenant waits for at most two seconds',
    async ([, script], context) => {
      const { expect } = context
      const fair = await openFairService({
        tenants: ['bad', 'good'],
        limits: { max_concurrency: 4 },
        context,
      })
      fair.upstream.script = async (call, response) => {
        await sleep(1000)
        return script(call, response)
      }
      await fair.submit('bad', prompts(40, 'POISON'), { max_attempts: 2 })
      for (let round = 0; round < 4; round++) {
        const [id] = await fair.submit('good', [`healthy ${round}`])
        const { job, ms } = await fair.ended('good', id!)
        expect(job.status).toBe('completed')
        expect(ms, `round ${round}`).toBeLessThan(1000 + 2000)
      }
    },
  )

  it('in embeddings that share a request: neighbours complete, however many attempts they had', async () => {
    const fair = await openFairService({ tenants: ['bad', 'good'] })
    fair.upstream.script = poisoned
    const embedding = (input: string) => ({
      type: 'embedding',
      body: { model: 'up/embed', input },
      max_attempts: 1,
    })
    const good = await fair.service.submitAll(prompts(40, 'healthy').map(embedding), 'key-of-good-0123456789')
    const bad = await fair.service.submitAll([embedding('POISON')], 'key-of-bad-0123456789')
    const startedAt = performance.now()
    for (const { id } of good) expect((await fair.ended('good', id!)).job.status).toBe('completed')
    expect(performance.now() - startedAt).toBeLessThan(3000)
    expect((await fair.ended('bad', bad[0]!.id!)).job.status).toBe('failed')
  })
})

it('passes the whole queue of a provider that is down to the next lane of the route, at once', async () => {
  const fair = await openFairService({
    tenants: ['a'],
    limits: { max_concurrency: 4 },
    routes: { fast: ['up/chat', 'up/second'] },
  })
  fair.upstream.script = ({ body }, response) =>
    body.model === 'chat'
      ? answer(response, 503, { error: { message: 'overloaded' } })
      : answerOf(body, response)
  await fair.submit('a', prompts(200, 'one'), { body: { model: 'fast' } })
  // Jobs with broken calls go again first, and some are probes.
  const served = () => fair.upstream.calls.filter(({ body }) => body.model === 'second').length
  await expect.poll(served, { timeout: 25_000 }).toBeGreaterThan(150)
})

it('a provider that is down gets at most ten calls, and says what broke it', async () => {
  const fair = await openFairService({ tenants: ['a', 'b'], limits: { max_concurrency: 4 } })
  fair.upstream.script = (_call, response) => answer(response, 503, { error: { message: 'overloaded' } })
  await fair.submit('a', prompts(20, 'one'))
  await fair.submit('b', prompts(20, 'two'))
  await expect.poll(async () => (await fair.lane()).breaker.state, { timeout: 10_000 }).toBe('open')
  await sleep(2000)
  expect(fair.upstream.calls.length).toBeLessThanOrEqual(10)
  const { breaker } = await fair.lane()
  expect(breaker.held_tenants.toSorted()).toEqual(['a', 'b'])
  expect(breaker.last_broken[0]).toMatchObject({ status: 503, jobs: [{ id: expect.any(String) }] })
  expect(breaker.last_broken.flatMap(({ jobs }) => jobs.map(({ tenant }) => tenant))).toContain('a')
  expect(breaker.last_broken[0]!.message).toContain('overloaded')
})
