import { expect, test } from 'vitest'
import { LIMITS_LIKE_NAMES, type LimitsLikeName } from '../../simulator/limits-like.ts'
import { laneWith, makeLua, makeTwin } from './ratelimit-subjects.ts'
import { LIMITS, runWay } from './ratelimit-ways.ts'

/** Nothing configured but the two numbers. */
const LANE = laneWith({ ...LIMITS, window_auto: true })
/** Ways that count a minute as a minute: there no call is refused. */
const NEVER_REFUSED: readonly LimitsLikeName[] = ['openai', 'gemini', 'sliding-log']
const SEEDS = [1, 2, 3, 4]
const LATE_SEEDS = [1, 2, 3, 4, 5, 6, 7, 8]

test.each(LIMITS_LIKE_NAMES)('a lane finds out how limits like those of %s count', async (way) => {
  for (const seed of SEEDS) {
    const subject = makeTwin().create()
    const { share, refused } = await runWay(subject, LANE, way, seed)
    expect(share, `seed ${seed}`).toBeGreaterThanOrEqual(0.95)
    expect(refused, `seed ${seed}`).toBeLessThanOrEqual(NEVER_REFUSED.includes(way) ? 0 : 3)
    const { learnedWindow } = await subject.gate.read(LANE)
    expect(learnedWindow).toBe(way === 'azure-1s' ? 1000 : 10_000)
  }
})

test.each(['openai', 'azure-10s'] as const)(
  'workers that pause at times lose little of limits like those of %s',
  async (way) => {
    let sum = 0
    for (const seed of SEEDS) {
      const { share, refused } = await runWay(makeTwin().create(), LANE, way, seed, { stalls: true })
      sum += share
      expect(refused, `seed ${seed}`).toBe(0)
    }
    expect(sum / SEEDS.length).toBeGreaterThan(0.967)
  },
)

test.each(['quiet', 'busy'] as const)(
  'windows of a second are filled on a %s machine, where calls leave late and bunch',
  async (machine) => {
    let sum = 0
    for (const seed of LATE_SEEDS) {
      const { share, refused } = await runWay(makeTwin().create(), LANE, 'azure-1s', seed, { machine })
      expect(refused, `seed ${seed}`).toBeLessThanOrEqual(3)
      sum += share
    }
    expect(sum / LATE_SEEDS.length).toBeGreaterThan(0.97)
  },
)

test('the scripts learn the same as the model', async () => {
  const makers = [makeLua(), makeTwin()]
  const results = []
  for (const maker of makers) {
    const subject = maker.create()
    results.push([await runWay(subject, LANE, 'azure-1s', 1), (await subject.gate.read(LANE)).learnedWindow])
    maker.close()
  }
  expect(results[0]).toEqual(results[1])
})
