import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, it, onTestFinished } from 'vitest'
import { resolveLane } from '../../../config/lanes.ts'
import { createProviders } from '../../../providers/registry.ts'
import type { FaultKind } from '../../../simulator/options.ts'
import { createServedLanes } from '../../../workers/served-lanes.ts'
import { LANE, submit } from '../../helpers/store.ts'
import { openServer } from '../providers/fixture.ts'
import { ended, openWorkshop } from './fixture.ts'

/** A refill of the levels does not show within a test: a token takes 30 s. */
const limits = '{ requests_per_day: 50, tokens_per_minute: 2, max_concurrency: 4, window: 24h }'
const cost = { tokens: 400, inputTokens: 390, outputTokens: 10, inputs: 1, coalesceKey: null }
const nothing = { requests: 0, tokens: 0, inputTokens: 0, outputTokens: 0 }

async function openLane(kind: FaultKind | null) {
  const faults = kind === null ? [] : [{ kind }]
  const workshop = await openWorkshop({ limits, simulator: { faults } })
  const lane = resolveLane(workshop.config, LANE)!
  return { ...workshop, read: () => workshop.gate.read(lane) }
}

it.each([
  ['timed out', 'hang', 150, false],
  ['broke before its answer', 'reset_before', 10_000, false],
  ['broke within its answer', 'truncated_stream', 10_000, true],
  ['failed at the provider', '500', 10_000, false],
  ['was refused', '400', 10_000, false],
  ['was answered with something else', 'garbage', 10_000, false],
] as const)('a call that %s keeps its original booking in its lane', async (_, kind, timeoutMs, stream) => {
  const { store, work, read } = await openLane(kind)
  await work()
  const body = { model: LANE, messages: [{ role: 'user', content: 'hello' }], stream }
  const { id } = await submit(store, { body, cost, maxAttempts: 1, timeoutMs })
  expect(await ended(store, id)).toMatchObject({ status: 'failed', attempts: 1 })
  await expect.poll(async () => (await read()).inFlight).toBe(0)
  const { used, usedToday, refunded, levels } = await read()
  expect(used).toEqual({ requests: 1, tokens: 400, inputTokens: 390, outputTokens: 10 })
  expect(usedToday).toBe(1)
  expect(refunded).toEqual(nothing)
  expect(levels.tokens).toBeLessThan(-390)
})

it('a call that never reached its provider leaves nothing booked in its lane', async () => {
  const { store, config, work, read } = await openLane(null)
  const { sim } = config.providers
  const nowhere = { ...config, providers: { sim: { ...sim!, base_url: await closedUrl() } } }
  const providers = createProviders({ config: nowhere })
  onTestFinished(() => providers.close())
  await work(undefined, { lanes: createServedLanes({ config: () => config, provider: providers.get }) })
  const { id } = await submit(store, { cost, maxAttempts: 1 })
  expect(await ended(store, id)).toMatchObject({ status: 'failed', attempts: 1 })
  await expect.poll(async () => (await read()).inFlight).toBe(0)
  const { used, usedToday, levels } = await read()
  expect(used).toEqual(nothing)
  expect(usedToday).toBe(0)
  expect(levels.tokens).toBeGreaterThanOrEqual(0)
})

it('an answer that states zeros leaves its estimate booked in its lane', async () => {
  const { store, config, work, read } = await openLane(null)
  const message = { role: 'assistant', content: 'hello to you' }
  const usage = { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 }
  const choices = [{ index: 0, message, finish_reason: 'stop' }]
  const text = JSON.stringify({ id: 'a', object: 'chat.completion', created: 1, model: 'm', choices, usage })
  const base_url = await openServer((_, response) => response.end(text))
  // Gemini counts used tokens: what an answer does not need is refunded.
  const counting = { ...config, providers: { sim: { ...config.providers.sim!, kind: 'gemini', base_url } } }
  const changed = counting as typeof config
  const providers = createProviders({ config: changed })
  onTestFinished(() => providers.close())
  await work(undefined, { lanes: createServedLanes({ config: () => changed, provider: providers.get }) })
  const { id } = await submit(store, { cost })
  expect(await ended(store, id)).toMatchObject({ status: 'completed' })
  await expect.poll(async () => (await read()).inFlight).toBe(0)
  expect((await read()).used).toEqual({ requests: 1, tokens: 400, inputTokens: 390, outputTokens: 10 })
})

/** An address where nothing listens. */
async function closedUrl(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return `http://127.0.0.1:${port}/v1`
}
