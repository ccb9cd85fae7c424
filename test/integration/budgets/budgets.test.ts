import { describe, expect, it } from 'vitest'
import { keysOf } from '../../helpers/redis.ts'
import { answer, completion, type Script } from '../../helpers/upstream.ts'
import { type BudgetHouse, openBudgetHouse } from './house.ts'

const price = { input: 1, output: 10 }

/** Answers each chat with so many output tokens. */
const answering =
  (tokens: number): Script =>
  (_call, response) =>
    answer(
      response,
      200,
      completion(
        'hi',
        {},
        {
          usage: { prompt_tokens: 10, completion_tokens: tokens, total_tokens: 10 + tokens },
        },
      ),
    )

const count = <T>(items: T[], wanted: T) => items.filter((item) => item === wanted).length

/** Submits so many chats without a cap at once, waits for all accepted ones, and answers how each ended. */
async function submitAll(house: BudgetHouse, jobs: number, name: string): Promise<string[]> {
  return Promise.all(
    Array.from({ length: jobs }, async (_, index) => {
      const made = await house.submit(`${name} ${index}`)
      if (made.error) return made.error.code
      const job = await house.ended(made.id)
      return job.error?.code ?? job.status
    }),
  )
}

/** So many lines of one bulk submission. */
const linesOf = (jobs: number, name: string) =>
  Array.from({ length: jobs }, (_, index) =>
    JSON.stringify({
      type: 'chat',
      body: { model: 'own/chat', messages: [{ role: 'user', content: `${name} ${index}` }] },
    }),
  ).join('\n')

async function idle(house: BudgetHouse): Promise<void> {
  await expect.poll(async () => (await house.money()).reserved, { timeout: 20_000 }).toBe(0)
}

describe('the budget of a day', () => {
  it('holds for 200 chats at once without a cap', async () => {
    const house = await openBudgetHouse({ budget: 0.45, price })
    house.upstream.script = answering(1000) // A cent each.
    const outcomes = await submitAll(house, 200, 'first')
    await idle(house)
    const { spent } = await house.money()
    console.log(`200 chats at once on $0.45: $${spent} spent, ${count(outcomes, 'completed')} completed`)
    // Answers were a little shorter than what was reserved for them, so nothing goes over.
    expect(spent).toBeLessThanOrEqual(0.45)
    expect(spent).toBeGreaterThan(0.35)
    expect(count(outcomes, 'completed') + count(outcomes, 'budget_exhausted')).toBe(200)
  })

  it('is exceeded by at most the error of the estimates in flight, where answers are longer than estimated', async () => {
    const house = await openBudgetHouse({ budget: 0.45, price })
    house.upstream.script = answering(3000)
    const first = await submitAll(house, 200, 'first')
    await idle(house)
    const { spent } = await house.money()
    const calls = house.upstream.calls.length
    const error = calls * (0.03 - 0.01024)
    console.log(
      `200 chats, three times as long: $${spent} spent, ${calls} calls, $${error.toFixed(2)} of errors`,
    )
    expect(spent).toBeLessThanOrEqual(0.45 + error)
    expect(count(first, 'completed')).toBe(calls)
    // It has learned, and the budget is spent.
    await submitAll(house, 20, 'second')
    expect((await house.money()).spent).toBe(spent)
  })

  it('holds for one bulk upload of 2,000', async () => {
    const house = await openBudgetHouse({ budget: 0.45, price })
    house.upstream.script = answering(1000)
    const response = await house.post('/v1/jobs/bulk', linesOf(2000, 'bulk'))
    const answers = (await response.text()).trim().split('\n')
    await idle(house)
    const { spent } = await house.money()
    console.log(
      `a bulk of 2,000 on $0.45: $${spent} spent, ${answers.filter((line) => line.includes('"id"')).length} let in`,
    )
    expect(spent).toBeLessThanOrEqual(0.45)
    expect(spent).toBeGreaterThan(0.3)
  })

  it('learns how long answers are, and reserves as much', async () => {
    const house = await openBudgetHouse({ budget: 1, price })
    house.upstream.script = answering(50)
    for (let index = 0; index < 12; index++) await house.ended((await house.submit(`learn ${index}`)).id)
    const known = `${house.root}:output:own/chat`
    await house.redis.set(known, Array(64).fill('50').join(' '))
    await house.ended((await house.submit('one more')).id)
    expect((await house.redis.get(known))?.split(' ')).toHaveLength(64)
    house.upstream.script = () => {} // Holds the call.
    await house.submit('held')
    await expect.poll(async () => (await house.money()).reserved).toBeGreaterThan(0)
    expect((await house.money()).reserved).toBeLessThan(0.0006)
    const keys = await keysOf(house.redis, `${house.root}:output:*`)
    expect(keys).toEqual([`${house.root}:output:own/chat`])
    const ttl = await house.redis.pttl(keys[0]!)
    expect(ttl).toBeGreaterThan(6.9 * 86_400_000)
    expect(ttl).toBeLessThanOrEqual(7 * 86_400_000)
  })

  it('admits one job of which is only known that it may cost more than is left', async () => {
    const house = await openBudgetHouse({ budget: 0.005, price })
    house.upstream.script = answering(100)
    const outcomes = await submitAll(house, 10, 'guess')
    expect(count(outcomes, 'completed')).toBeGreaterThanOrEqual(1)
    expect((await house.money()).spent).toBeLessThanOrEqual(0.005)
    // A cap is not a guess.
    expect((await house.submit('capped', { max_tokens: 1000 })).error?.code).toBe('budget_exhausted')
  })

  it('starts again with each day', async () => {
    const house = await openBudgetHouse({ budget: 0.05, price })
    house.upstream.script = answering(4000)
    await house.ended((await house.submit('today')).id)
    expect((await house.submit('more')).error?.code).toBe('budget_exhausted')
    // By the clock of Redis, the day is part of the key.
    const [key] = await keysOf(house.redis, `${house.root}:money:spent:*`)
    const ttl = await house.redis.pttl(key!)
    expect(ttl).toBeGreaterThan(2 * 86_400_000 - 60_000)
    expect(ttl).toBeLessThanOrEqual(2 * 86_400_000)
    await house.redis.rename(key!, `${house.root}:money:spent:1`)
    expect((await house.submit('tomorrow')).status).toBe('queued')
  })

  it('counts what an earlier release left in dollars', async () => {
    const house = await openBudgetHouse({ budget: 1, price })
    await house.redis.set(`${house.root}:spent:${Math.floor(Date.now() / 86_400_000)}`, '0.75')
    await house.redis.set(`${house.root}:reserved`, '0.2')
    expect(await house.money()).toEqual({ spent: 0.75, reserved: 0.2 })
    expect((await house.submit('too dear', { max_tokens: 10_000 })).error?.code).toBe('budget_exhausted')
  })
})

describe('the reservation', () => {
  const usdOf = async (options: Parameters<typeof openBudgetHouse>[0], type: string, body: object) => {
    const house = await openBudgetHouse({ budget: 1000, price: { input: 0, output: 1000 }, ...options })
    house.upstream.script = () => {}
    await house.post('/v1/jobs', { type, body: { model: 'own/chat', ...body } })
    await expect.poll(async () => (await house.money()).reserved).toBeGreaterThan(0)
    // A dollar is a thousand tokens.
    return Math.round((await house.money()).reserved * 1000)
  }
  const messages = [{ role: 'user', content: 'x' }]

  it.each([
    ['openai' as const, {}, { max_tokens: 500 }, 500],
    ['openai' as const, {}, { max_completion_tokens: 700, max_tokens: 500 }, 700],
    ['openai' as const, {}, { max_tokens: 500, n: 3 }, 1500],
    ['openai' as const, {}, { max_tokens: 500, n: 2, best_of: 4 }, 2000],
    ['openai' as const, {}, {}, 1024],
    ['openai' as const, {}, { n: 2 }, 2048],
    ['openai' as const, { max_output_tokens: 300 }, {}, 300],
    ['openai' as const, { max_output_tokens: 300 }, { max_tokens: 9000 }, 300],
    ['anthropic' as const, {}, { max_tokens: 500 }, 500],
    ['anthropic' as const, {}, {}, 4096],
    ['gemini' as const, {}, { max_tokens: 500 }, 500],
    ['gemini' as const, {}, {}, 1024],
  ])('is the output that may come: %s %j %j', async (kind, model, body, tokens) => {
    expect(await usdOf({ kind, model }, 'chat', { messages, ...body })).toBe(tokens)
  })

  it('holds for Responses as well', async () => {
    expect(await usdOf({ kind: 'openai' }, 'response', { input: 'x', max_output_tokens: 600 })).toBe(600)
    expect(await usdOf({ kind: 'openai' }, 'response', { input: 'x' })).toBe(1024)
  })

  it('is given back when the job needs no call, or none was made', async () => {
    const house = await openBudgetHouse({ budget: 1, price, provider: { limits: { max_concurrency: 1 } } })
    house.upstream.script = answering(10)
    await house.ended((await house.submit('answered')).id)
    await idle(house)
    const { spent } = await house.money()
    house.upstream.script = () => {}
    const running = await house.submit('running')
    await expect
      .poll(async () => (await house.get<{ status: string }>(`/v1/jobs/${running.id}`)).status)
      .toBe('running')
    const held = (await house.money()).reserved

    expect(await house.submit('answered')).toMatchObject({ status: 'completed', cache: 'hit', cost_usd: 0 })
    expect(await house.submit('running')).toMatchObject({ cache: 'shared' })
    expect(await house.money()).toEqual({ spent, reserved: held })
    const waiting = await house.submit('waiting')
    expect((await house.money()).reserved).toBeGreaterThan(held)
    await house.post(`/v1/jobs/${waiting.id}/cancel`, {})
    expect(await house.money()).toEqual({ spent, reserved: held })
    expect(await house.get(`/v1/jobs/${waiting.id}`)).toMatchObject({ status: 'cancelled', cost_usd: null })
  })
})

describe('before each call', () => {
  it('an accepted job runs as long as costs keep to its reservation, and fails by name when they do not', async () => {
    const house = await openBudgetHouse({ budget: 0.1, price, provider: { limits: { max_concurrency: 1 } } })
    // Eight are accepted with their caps of $0.01; the provider ignores the caps.
    house.upstream.script = answering(4000)
    const jobs = await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        house.submit(`job ${index}`, { max_tokens: 1000 }, { group: 'night' }),
      ),
    )
    const ended = await Promise.all(jobs.map(({ id }) => house.ended(id)))
    const failed = ended.filter(({ status }) => status === 'failed')
    expect(house.upstream.calls.length).toBe(3)
    expect(failed).toHaveLength(5)
    for (const job of failed) {
      expect(job).toMatchObject({
        attempts: 0,
        cost_usd: null,
        error: { code: 'budget_exhausted', retryable: true },
      })
    }
    expect(await house.money()).toEqual({ spent: 3 * 0.04001, reserved: 0 })
    expect(await house.get('/v1/groups/night')).toMatchObject({ cost_usd: 3 * 0.04001 })
  })

  it('waits for the calls under way if they may use the rest', async () => {
    const house = await openBudgetHouse({ budget: 0.1, price })
    const open: (() => void)[] = []
    house.upstream.script = (call, response) => {
      open.push(() => answering(1000)(call, response))
    }
    const first = await house.submit('first', { max_tokens: 5000 })
    await expect.poll(() => open.length).toBe(1)
    // As if it were longer than its reservation.
    await house.redis.incrby(`${house.root}:money:running`, 40_000_000)
    const second = await house.submit('second', { max_tokens: 1000 })
    await expect
      .poll(() => house.get(`/v1/jobs/${second.id}`))
      .toMatchObject({ status: 'queued', waiting_for: 'budget' })
    await house.redis.decrby(`${house.root}:money:running`, 40_000_000)
    open.shift()!()
    expect(await house.ended(first.id)).toMatchObject({ status: 'completed' })
    await expect.poll(() => open.length, { timeout: 20_000 }).toBe(1)
    open.shift()!()
    expect(await house.ended(second.id)).toMatchObject({ status: 'completed', waiting_for: null })
    expect(await house.redis.get(`${house.root}:money:running`)).toBe('0')
  })
})
