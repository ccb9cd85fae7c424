import { expect, it } from 'vitest'
import { openBudgetHouse } from './house.ts'

const messages = [{ role: 'user', content: 'x' }]

it('names the budget and when it opens again, in the shape of each API', async () => {
  const house = await openBudgetHouse({
    kind: 'openai',
    price: { input: 0, output: 10 },
    limits: { budgets: [{ usd: 0.005, per: 'month', time_zone: 'Europe/Berlin' }] },
  })
  const words = 'the budget of the tenant, 0.005 USD a month (Europe/Berlin), has no room: 0 USD are spent'
  const doors: [path: string, body: object, error: object][] = [
    ['/v1/chat/completions', { messages, max_tokens: 1000 }, { code: 'budget_exhausted', param: null }],
    ['/v1/responses', { input: 'x', max_output_tokens: 1000 }, { code: 'budget_exhausted', param: null }],
    ['/v1/messages', { messages, max_tokens: 1000 }, { type: 'rate_limit_error' }],
  ]
  for (const [path, body, error] of doors) {
    const response = await house.post(path, { model: 'own/chat', ...body })
    expect([path, response.status]).toEqual([path, 429])
    const { error: told } = (await response.json()) as { error: { message: string } }
    expect(told).toMatchObject({ ...error, message: expect.stringContaining(words) })
    expect(told.message).toMatch(/this job may cost 0\.01; its next window begins at \d{4}-\d\d-/)
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0)
  }
  // A budget without windows does not open again.
  await house.put('/v1/groups/spent/budget', { usd: 0 })
  const chat = { type: 'chat', group: 'spent', body: { model: 'own/chat', messages, max_tokens: 10 } }
  const response = await house.post('/v1/jobs', chat)
  expect([response.status, response.headers.get('x-should-retry')]).toEqual([429, 'false'])
})

it('refuses jobs without a price, where that is configured and a budget counts', async () => {
  const house = await openBudgetHouse({
    rules: { unknown_price: 'refuse' },
    provider: { models: { chat: {}, dear: { price: { input: 0, output: 10 } } } },
  })
  expect(await house.submit('no budget')).toMatchObject({ status: 'queued' })
  await house.put('/v1/groups/night/budget', { usd: 5, per: 'day' })
  expect(await house.submit('of a group', {}, { group: 'night' })).toMatchObject({
    error: { code: 'invalid_request', message: expect.stringContaining('own/chat has no price') },
  })
  expect(await house.submit('priced', { model: 'own/dear' }, { group: 'night' })).toMatchObject({
    status: 'queued',
  })
  await house.remove('/v1/groups/night/budget')
  expect(await house.submit('of a group', {}, { group: 'night' })).toMatchObject({ status: 'queued' })
})
