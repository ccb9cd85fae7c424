import { expect, it } from 'vitest'
import { resolveLane } from '../../../config/lanes.ts'
import { adaptConcurrency, createConcurrencyControl } from '../../../ratelimit/adaptive-gate.ts'
import { LANE, newJob } from '../../helpers/store.ts'
import { ended, openWorkshop, submitMany } from './fixture.ts'

it('a lane with max_concurrency: auto finds out how many calls its server supports, and keeps to that', async () => {
  const workshop = await openWorkshop({
    simulator: { selfHosted: { knee: 6, firstTokenMs: 60, tokenMs: 2 }, outputTokens: 20 },
    limits: '{ max_concurrency: auto }',
  })
  const { store, simulator, config } = workshop
  const lane = resolveLane(config, LANE)!
  const gate = adaptConcurrency(workshop.gate, createConcurrencyControl(store), () => null)
  expect((await gate.read(lane)).learnedConcurrency).toBe(2)
  await workshop.work(undefined, { gate })
  const bodies = Array.from({ length: 60 }, (_, at) => ({
    model: LANE,
    messages: [{ role: 'user', content: `question ${at}` }],
    stream: at % 2 === 0,
  }))
  const ids = await submitMany(
    store,
    bodies.map((body) => newJob({ body })),
  )
  for (const id of ids) expect(await ended(store, id)).toMatchObject({ status: 'completed' })
  const { peak_concurrency } = simulator.state()
  expect(peak_concurrency).toBeGreaterThan(2)
  expect(peak_concurrency).toBeLessThan(40)
  const { learnedConcurrency } = await gate.read(lane)
  expect(learnedConcurrency).toBeGreaterThanOrEqual(1)
  // Another process knows what this one has found out.
  const other = adaptConcurrency(workshop.gate, createConcurrencyControl(store), () => null)
  expect((await other.read(lane)).learnedConcurrency).toBe(learnedConcurrency)
})
