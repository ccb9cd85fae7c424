import { expect, it } from 'vitest'
import { answer } from '../../helpers/upstream.ts'
import { openBudgetHouse } from './house.ts'

const price = { input: 1, output: 10 }
/** 100 tokens at four bytes each. */
const body = { model: 'own/chat', input: 'x'.repeat(400), max_output_tokens: 100 }
/** What each may cost: 100 tokens of input and 100 of output; and its real cost. */
const BOOKED = (100 + 1000) / 1e6
const COST = (120 + 500) / 1e6

const compaction = {
  object: 'response.compaction',
  id: 'resp_1',
  output: [],
  usage: { input_tokens: 120, output_tokens: 50, total_tokens: 170 },
}

it('a compaction counts against the budgets of its tenant, at its cost', async () => {
  const month = { usd: 1, per: 'month', time_zone: 'UTC' }
  const house = await openBudgetHouse({
    budget: 0.003,
    price,
    provider: { kind: 'openai' },
    limits: { budgets: [month] },
  })
  const statuses = async (count: number) =>
    (await Promise.all(Array.from({ length: count }, () => house.post('/v1/responses/compact', body)))).map(
      ({ status }) => status,
    )

  house.upstream.script = (_call, response) => answer(response, 200, compaction)
  expect(await statuses(1)).toEqual([200])
  expect(await house.money()).toEqual({ spent: COST, reserved: 0 })
  const [, listed] = (await house.get<{ data: object[] }>('/v1/budgets')).data
  expect(listed).toMatchObject({ per: 'month', spent_usd: COST, reserved_usd: 0 })

  // A call that a provider refuses costs nothing.
  house.upstream.script = (_call, response) => answer(response, 400, { error: { message: 'no' } })
  expect(await statuses(1)).toEqual([400])
  expect(await house.money()).toEqual({ spent: COST, reserved: 0 })

  // All calls at once have to fit, with what they may cost: twice 0.0011 into the remaining 0.003.
  house.upstream.script = (_call, response) => answer(response, 200, compaction)
  const together = await statuses(6)
  expect(together.filter((status) => status === 429).length).toBeGreaterThanOrEqual(1)
  const spent = (await house.money()).spent
  expect(spent).toBeCloseTo(COST * (1 + together.filter((status) => status === 200).length), 9)
  expect(spent).toBeLessThanOrEqual(0.003)

  // A broken connection says nothing about the bill: the reservation stays.
  house.upstream.script = (_call, response) => response.destroy()
  const before = (await house.money()).spent
  if (before + BOOKED <= 0.003) {
    await statuses(1)
    expect((await house.money()).spent).toBeCloseTo(before + BOOKED, 9)
  }
  const refused = await (async () => {
    for (;;) {
      const answered = await house.post('/v1/responses/compact', body)
      if (answered.status === 429) return answered
    }
  })()
  expect(((await refused.json()) as { error: object }).error).toMatchObject({
    code: 'budget_exhausted',
    message: expect.stringContaining('the budget of the tenant, 0.003 USD a day (UTC), has no room'),
  })
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
})
