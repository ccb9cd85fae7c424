import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { Webhook } from 'standardwebhooks'
import { expect, it, onTestFinished } from 'vitest'
import type { JsonObject } from '../../../lib/json.ts'
import { keysOf } from '../../helpers/redis.ts'
import { until } from '../../helpers/store.ts'
import { answer, completion } from '../../helpers/upstream.ts'
import { openBudgetHouse } from './house.ts'

const secret = 'whsec_c2VjcmV0IHNlY3JldCBzZWNyZXQ='

/** A receiver of webhooks that fails the first one. */
async function openReceiver() {
  const heard: { type: string; data: JsonObject }[] = []
  let failed = 0
  const server = createServer(async (request, response) => {
    const body = await text(request)
    new Webhook(secret).verify(body, request.headers as Record<string, string>)
    if (failed++ === 0) return void response.writeHead(500).end()
    heard.push(JSON.parse(body))
    response.end()
  })
  server.listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  onTestFinished(() => void server.close())
  return { heard, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` }
}

it('reports a budget at 80 % and at its end, once each: as events, and to the operations', async () => {
  const { heard, url } = await openReceiver()
  const budgets = [{ usd: 0.01, per: 'month', time_zone: 'Europe/Berlin' }]
  const house = await openBudgetHouse({
    price: { input: 0, output: 10 },
    budget: 0.01,
    limits: { budgets },
    webhooks: { secret, allow_private_addresses: true, operations_url: url, schedule: ['0s', '50ms'] },
  })
  house.upstream.script = (_call, response) =>
    answer(
      response,
      200,
      completion('hi', {}, { usage: { prompt_tokens: 0, completion_tokens: 400, total_tokens: 400 } }),
    )
  const spend = async (name: string) => {
    const made = await house.submit(name, { max_tokens: 400 }, { group: 'night' })
    return made.error ? made.error : (await house.ended(made.id)).status
  }
  await house.put('/v1/groups/night/budget', { usd: 0.005 })
  expect(await spend('a')).toBe('completed')
  // The group has spent 80 %, its tenant has not; then the group is refused, and gets another budget.
  expect(await spend('b')).toMatchObject({
    code: 'budget_exhausted',
    message: expect.stringContaining('the budget of the group night, 0.005 USD in all, has no room'),
  })
  expect(await house.get('/v1/groups/night')).toMatchObject({
    budgets: [{ owner: 'group', name: 'night', usd: 0.005, per: 'total', spent_usd: 0.004, reserved_usd: 0 }],
  })
  await house.remove('/v1/groups/night/budget')
  expect(await spend('c')).toBe('completed')
  expect(await spend('d')).toMatchObject({ code: 'budget_exhausted' })
  expect(await spend('e')).toMatchObject({ code: 'budget_exhausted' })

  await until(() => heard.length >= 5)
  const told = heard.map(({ type, data }) => {
    const { owner, name, per } = data.budget as JsonObject
    return [type, owner, name, per].join(' ')
  })
  const both = (whose: string) => [`budget.exhausted ${whose}`, `budget.warning ${whose}`]
  const expected = [...both('group night total'), ...both('tenant  month'), 'budget.warning tenant  day']
  expect(told.toSorted()).toEqual(expected.toSorted())
  const warning = heard.find(
    ({ type, data }) => type === 'budget.warning' && (data.budget as JsonObject).per === 'month',
  )
  expect(warning?.data).toMatchObject({
    id: expect.stringMatching(/^budget_tenant:\d+:\d+$/),
    budget: { usd: 0.01, time_zone: 'Europe/Berlin', window_end: expect.stringMatching(/Z$/) },
    spent_usd: 0.008,
  })

  const events = await house.events('event=budget.warning,budget.exhausted', 5)
  expect(events.map(({ type, data }) => [type, data.id].join(' ')).toSorted()).toEqual(
    heard.map(({ type, data }) => [type, data.id].join(' ')).toSorted(),
  )
  const ofGroup = await house.events('event=budget.warning,budget.exhausted&group=night', 2)
  expect(ofGroup.every(({ data }) => (data.budget as JsonObject).owner === 'group')).toBe(true)

  // The tenant must not see the address of the operations, though its ids can be guessed.
  const deliveries = await keysOf(house.redis, `${house.root}:delivery:whd_budget*`)
  expect(deliveries).toHaveLength(5)
  for (const key of deliveries) {
    const id = key.slice(`${house.root}:delivery:`.length)
    const again = await house.post(`/v1/deliveries/${id}/redeliver`, {})
    expect(again.status).toBe(404)
    expect(await again.text()).not.toContain(url)
    expect(await house.redis.hget(key, 'status')).toBe('delivered')
    const job = await house.redis.hget(key, 'job_id')
    const list = await house.get(`/v1/jobs/${job}/deliveries`)
    expect(list).toMatchObject({ error: { code: 'not_found' } })
  }
})
