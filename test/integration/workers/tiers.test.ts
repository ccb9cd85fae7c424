import { expect, test } from 'vitest'
import type { Lane } from '../../../config/lanes.ts'
import type { NewJob } from '../../../jobs/new-job.ts'
import type { Held } from '../../../jobs/queue-entry.ts'
import { planCalls } from '../../../workers/plan.ts'
import { newJob, openTestStore, TENANT } from '../../helpers/store.ts'
import { ended, openWorkshop, submitMany } from './fixture.ts'

const MODELS = `
      flexy: { price: { input: 1, output: 2, cached_input: 0.1, tiers: { flex: 0.5 } }, tiers: { flex: { fall_back_after: 1m } }, prompt_cache: warm }
      hasty: { price: { input: 1, output: 2, tiers: { flex: 0.5 } }, tiers: { flex: { fall_back_after: 1ms } } }
      mystery: {}`
const CHAT = { tokens: 10, inputTokens: 10, outputTokens: 0, inputs: 1, coalesceKey: null }
const LONG = 'the same words for all of them, '.repeat(300)

const jobOn = (lane: string, members: Partial<NewJob> = {}, text = 'hello'): NewJob =>
  newJob({
    lane,
    model: lane,
    body: { model: lane, messages: [{ role: 'user', content: text }] },
    ...members,
  })

test('a job is served at its requested tier, priced by the one that the answer names, and falls back in time', async () => {
  const shop = await openWorkshop({
    model: MODELS,
    simulator: { latencyMs: 100, faults: [{ kind: '500', times: 1, match: 'fails once' }] },
  })
  await shop.work()
  const run = async (job: NewJob) => {
    const [id] = await submitMany(shop.store, [job])
    const done = await ended(shop.store, id!)
    return { job: done, attempts: (await shop.store.jobs.attempts(TENANT, id!))! }
  }
  const flex = { ...CHAT, tier: 'flex' as const }
  const [one, late, unpriced] = await Promise.all([
    run(jobOn('sim/flexy', { cost: flex })),
    run(jobOn('sim/hasty', { cost: flex }, 'fails once')),
    run(jobOn('sim/mystery')),
  ])

  const { input_tokens: input, output_tokens: output } = one.job.usage!
  expect(one.job).toMatchObject({ tier: 'flex', served_tier: 'flex', cost_usd: (input + 2 * output) / 2e6 })
  expect(one.attempts).toMatchObject([{ tier: 'flex', served_tier: 'flex', cost_usd: one.job.cost_usd }])

  expect(late.attempts).toMatchObject([
    { tier: 'flex', outcome: 'retryable', served_tier: null },
    { tier: 'standard', outcome: 'completed', served_tier: 'standard' },
  ])
  const used = late.job.usage!
  expect(late.job).toMatchObject({
    tier: 'flex',
    served_tier: 'standard',
    cost_usd: (used.input_tokens + 2 * used.output_tokens) / 1e6,
  })

  // Unknown is not free.
  expect(unpriced.job).toMatchObject({ status: 'completed', tier: 'standard', cost_usd: null })
  expect(unpriced.attempts).toMatchObject([{ cost_usd: null, usage: unpriced.job.usage }])

  // An equal job of another tier gets the kept answer, and shows the tier that served it.
  const [again] = (await shop.store.jobs.createMany([jobOn('sim/flexy')])) as { kind: string; id: string }[]
  expect(await shop.store.jobs.get(TENANT, again!.id)).toMatchObject({
    cache: 'hit',
    tier: 'standard',
    served_tier: 'flex',
    cost_usd: 0,
  })

  // Jobs with one long prefix: one goes first, the others find it in the provider's cache.
  const cost = { ...CHAT, prefix: 'a-long-prefix' }
  const messages = (text: string) => [
    { role: 'system', content: LONG },
    { role: 'user', content: text },
  ]
  const ids = await submitMany(
    shop.store,
    Array.from({ length: 8 }, (_, at) =>
      jobOn('sim/flexy', { cost, body: { model: 'sim/flexy', messages: messages(`number ${at}`) } }),
    ),
  )
  const jobs = await Promise.all(ids.map((id) => ended(shop.store, id)))
  const cached = jobs.map(({ usage }) => usage?.cached_input_tokens ?? 0)
  expect(cached.filter((tokens) => tokens === 0)).toHaveLength(1)
  const warmed = jobs.find(({ usage }) => (usage?.cached_input_tokens ?? 0) > 0)!
  const { cached_input_tokens: read = 0 } = warmed.usage!
  expect(read).toBeGreaterThan(2000)
  expect(warmed.prompt_cache_saved_usd).toBe(Math.round(read * 900) / 1e9)
  expect(shop.errors).toEqual([])
})

test('tokens that a warm prompt cache holds are left out of limits that do not count them', async () => {
  const { prefixes } = await openTestStore()
  const { signal } = new AbortController()
  const first = await prefixes.enter('a/m', 'prefix', signal)
  // Another waits for its first token; if it fails, the other goes first.
  const second = prefixes.enter('a/m', 'prefix', signal)
  first.failed()
  const turn = await second
  expect(prefixes.cachedTokens('a/m', 'prefix')).toBe(0)
  const third = prefixes.enter('a/m', 'prefix', signal)
  turn.answered()
  turn.learn(0)
  const follower = await third
  follower.learn(900)
  expect(prefixes.cachedTokens('a/m', 'prefix')).toBe(900)
  expect(prefixes.cachedTokens('b/m', 'prefix')).toBe(0)

  const held = { cost: { ...CHAT, tokens: 1000, inputTokens: 1000, prefix: 'prefix' } } as unknown as Held
  const lane = { coalesce: null } as unknown as Lane
  const plan = (cached: number) =>
    planCalls([{ held, since: 0 }], lane, 0, 0, false, () => cached).ready[0]!.cost
  expect(plan(0)).toMatchObject({ tokens: 1000, inputTokens: 1000 })
  expect(plan(900)).toMatchObject({ tokens: 100, inputTokens: 100 })
  expect(plan(5000)).toMatchObject({ tokens: 1, inputTokens: 1 })
})
