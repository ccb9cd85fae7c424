import { expect, it } from 'vitest'
import { toContribution } from '../../../history/contribution.ts'
import type { GroupSummary, Job } from '../../../jobs/job.ts'
import { answer, completion } from '../../helpers/upstream.ts'
import { openBudgetHouse } from './house.ts'

it('a call without a price costs null, and every sum says how many of its calls have none', async () => {
  const price = { input: 0, output: 10 }
  const models = { chat: { price }, mystery: {}, '*': {} }
  const house = await openBudgetHouse({ budget: 1, provider: { models } })
  house.upstream.script = (_call, response) =>
    answer(
      response,
      200,
      completion('hi', {}, { usage: { prompt_tokens: 0, completion_tokens: 100, total_tokens: 100 } }),
    )
  const run = async (model: string, group: string) => {
    const made = await house.submit(`${model} ${group}`, { model }, { group })
    return house.ended(made.id)
  }
  const jobs: Job[] = await Promise.all([
    run('own/chat', 'both'),
    run('own/mystery', 'both'),
    run('own/mystery', 'none'),
    run('own/later', 'none'),
  ])
  expect(jobs.map(({ status, cost_usd }) => [status, cost_usd])).toEqual([
    ['completed', 0.001],
    ['completed', null],
    ['completed', null],
    ['completed', null],
  ])
  expect((await house.attempts(jobs[1]!.id))[0]).toMatchObject({ cost_usd: null })
  const groups = await Promise.all(
    ['both', 'none'].map((name) => house.get<GroupSummary>(`/v1/groups/${name}`)),
  )
  expect(groups).toMatchObject([
    { cost_usd: 0.001, unpriced_calls: 1 },
    { cost_usd: null, unpriced_calls: 2 },
  ])
  const { data } = await house.get<{ data: GroupSummary[] }>('/v1/groups')
  expect(Object.fromEntries(data.map((one) => [one.group, one.unpriced_calls]))).toEqual({ both: 1, none: 2 })

  const flow = await house.post('/v1/flows', {
    name: 'unpriced',
    steps: {
      one: {
        job: { type: 'chat', body: { model: 'own/mystery', messages: [{ role: 'user', content: 'flow' }] } },
      },
    },
  })
  const { id } = (await flow.json()) as { id: string }
  const read = () => house.get<{ status: string }>(`/v1/flows/${id}`)
  await expect.poll(async () => (await read()).status, { timeout: 10_000 }).toBe('completed')
  expect(await read()).toMatchObject({ cost_usd: null, unpriced_calls: 1 })

  const overview = await house.get<{ unpriced: { lane: string; budgets: string[] }[] }>('/v1/overview')
  // One that the configuration names, and one that a client named.
  expect(overview.unpriced).toEqual([
    { lane: 'own/mystery', budgets: ['acme'] },
    { lane: 'own/later', budgets: ['acme'] },
  ])
})

it('the history counts calls without a price', () => {
  const record = { lane: 'own/mystery', status: 'completed', finished_at: '0' }
  const added = toContribution(record, null, { calls: 2, unpricedCalls: 1, costNano: 5 }, () => null)
  expect(added).toMatchObject({ jobs: 1, calls: 2, unpriced_calls: 1, cost_nano: 5 })
})
