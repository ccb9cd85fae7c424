import { expect, it, onTestFinished } from 'vitest'
import { resolveLane } from '../../../config/lanes.ts'
import { loadConfig } from '../../../config/load.ts'
import { createProviders } from '../../../providers/registry.ts'
import { createGate } from '../../../ratelimit/create-gate.ts'
import { createSimulator } from '../../../simulator/simulator.ts'
import { createServedLanes } from '../../../workers/served-lanes.ts'
import { startWorker } from '../../../workers/worker.ts'
import { LANE, openTestStore, read, statusesOf, submit, until } from '../../helpers/store.ts'
import { callStoreOf, heartbeatOf, workerOf } from './fixture.ts'

/** A store with a worker on it, whose lane's provider is a simulator. The gate's clock is set forward by `pass`. */
async function openLane() {
  const simulator = createSimulator()
  const url = await simulator.listen()
  onTestFinished(() => simulator.close())
  const store = await openTestStore()
  const config = loadConfig({
    path: '/somewhere/sluice.yaml',
    env: {},
    text: `
providers:
  sim:
    kind: openai-compatible
    base_url: ${url}
    api_key: a-key-for-tests
    limits: { max_concurrency: 4 }
    retry: { base: 10ms, cap: 20ms }
    models: { chat: {} }
`,
  })
  const providers = createProviders({ config })
  onTestFinished(() => providers.close())
  let ahead = 0
  const gate = createGate({ redis: store.redis, prefix: store.prefix, now: () => Date.now() + ahead })
  const worker = await startWorker({
    ...workerOf(store, config),
    lanes: createServedLanes({ config: () => config, provider: providers.get }),
    store: callStoreOf(store),
    gate,
    heartbeat: heartbeatOf(store, config, gate),
    onError(error) {
      throw error
    },
  })
  onTestFinished(() => worker.stop())
  const lane = resolveLane(config, LANE)!
  return {
    store,
    simulator,
    pass(ms: number) {
      ahead += ms
    },
    state: () => gate.read(lane),
  }
}

it('asks a provider that is down a few times only, and finishes every job when it is back', async () => {
  const { store, simulator, pass, state } = await openLane()
  const breaker = async () => (await state()).breaker
  simulator.setFaults([{ kind: '500' }])
  const ids: string[] = []
  for (let i = 0; i < 20; i++) ids.push((await submit(store, { maxAttempts: 4 }, `number ${i}`)).id)

  await until(async () => (await breaker()).state === 'open')
  await until(async () => (await state()).inFlight === 0)
  const before = simulator.state().calls
  expect(before).toBeGreaterThanOrEqual(5)
  expect(before).toBeLessThanOrEqual(8) // Five, and the calls under way.

  pass(15_000)
  await until(async () => (await breaker()).failures === 6)
  expect(simulator.state().calls).toBe(before + 1)
  expect((await breaker()).state).toBe('open')

  simulator.setFaults([])
  pass(30_000)
  await until(async () => (await statusesOf(store, ids)).every((status) => status === 'completed'))
  expect(await breaker()).toMatchObject({ state: 'closed', failures: 0, openUntil: null })
  expect(simulator.state().calls).toBe(before + 1 + 20)
})

it('keeps retries to the budget of their lane', async () => {
  const { store, simulator } = await openLane()
  simulator.setFaults([{ kind: '408' }]) // Worth a retry, and irrelevant to the breaker.
  const startedAt = Date.now()
  const ids: string[] = []
  for (let i = 0; i < 30; i++) ids.push((await submit(store, { maxAttempts: 50 }, `number ${i}`)).id)

  // Until the jobs that may go again at once have done so.
  await until(async () => {
    const jobs = await Promise.all(ids.map((id) => read(store, id)))
    const putOff = jobs.filter((job) => Date.parse(job.next_attempt_at ?? '') > Date.now() + 1000)
    return putOff.length >= 20 && simulator.state().calls >= ids.length + 10
  })
  const { calls } = simulator.state()
  const budget = 10 + calls / 5 + (Date.now() - startedAt) / 2000
  expect(calls - ids.length).toBeLessThanOrEqual(budget + 1)
})
