import { expect, test } from 'vitest'
import { checkGoals } from '../../../bench/economy/report.ts'
import {
  canBeHalf,
  createWorld,
  FLEX_OUTAGES,
  HOUR,
  MINUTE,
  type World,
} from '../../../bench/economy/world.ts'

test('the world is the same for the same seed, with deadlines of 15 minutes to 24 hours', () => {
  const world = createWorld(1000, 1)
  expect(createWorld(1000, 1).jobs).toEqual(world.jobs)
  const times = world.jobs.map(({ at, deadline }) => deadline - at)
  expect(Math.min(...times)).toBeGreaterThanOrEqual(15 * MINUTE)
  expect(Math.max(...times)).toBeLessThanOrEqual(24 * HOUR)
  expect(times.filter((time) => time < 2 * HOUR).length).toBeGreaterThan(400)
})

test('half the price is possible where a batch or a call at flex is done in time', () => {
  const { from, to } = FLEX_OUTAGES[0]!
  const slow: World = { jobs: [], turnaround: () => 20 * HOUR }
  const job = (at: number, deadline: number) => ({ index: 0, at, deadline })
  expect(canBeHalf(slow, job(0, 15 * MINUTE))).toBe(true)
  // In an outage of flex: until it ends, or by a batch.
  expect(canBeHalf(slow, job(from, to))).toBe(false)
  expect(canBeHalf(slow, job(from, to + 2 * MINUTE))).toBe(true)
  const fast: World = { jobs: [], turnaround: (at) => (at > from + 5 * MINUTE ? 10 * MINUTE : 20 * HOUR) }
  expect(canBeHalf(fast, job(from, from + 20 * MINUTE))).toBe(true)
  expect(canBeHalf(fast, job(from, from + 15 * MINUTE))).toBe(false)
})

test('a missed deadline, and a price over 1.05 times the cheapest, fail the bench', () => {
  const auto = {
    ...{ way: 'auto' as const, jobs: 10, missed: 0, failed: 0, usd: 1.05, standardUsd: 2, cheapestUsd: 1 },
    ...{ served: {}, bought: 10, providerBatches: 1, hours: 1, examples: [] },
  }
  const holds = (result: typeof auto) => checkGoals([result]).map((one) => one.holds)
  expect(holds(auto)).toEqual([true, true])
  expect(holds({ ...auto, missed: 1, usd: 1.06 })).toEqual([false, false])
  expect(checkGoals([])).toEqual([])
})
