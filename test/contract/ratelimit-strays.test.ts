import { expect, test } from 'vitest'
import type { Lane } from '../../config/lanes.ts'
import { runStrays } from './ratelimit-strays.ts'
import { laneWith, makeTwin } from './ratelimit-subjects.ts'

const LANE = laneWith({ requests_per_minute: 1800, headroom: 1 })
const LEARNING = laneWith({ requests_per_minute: 1800, headroom: 1, window_auto: true })
const SEEDS = [1, 2, 3]
const MINUTE = 60_000

async function average(
  share: number,
  strays: readonly number[],
  runMs: number,
  fromMs: number,
  { lane = LANE, ...more }: { lane?: Lane; retryAfterMs?: number } = {},
) {
  const runs: { share: number; refused: number }[] = []
  for (const seed of SEEDS) {
    const subject = makeTwin().create()
    runs.push(await runStrays(subject, lane, { share, strays, runMs, fromMs, seed, ...more }))
  }
  const mean = (read: (run: (typeof runs)[number]) => number) =>
    runs.reduce((sum, run) => sum + read(run), 0) / runs.length
  const result = { share: mean((run) => run.share), refused: mean((run) => run.refused) }
  console.info(`strays: ${JSON.stringify({ granted: share, strays: strays.length, ...result })}`)
  return result
}

test('one stray 429 costs its second of pause, and little more', async () => {
  const found = await average(1, [MINUTE], 2 * MINUTE, MINUTE)
  expect(found.refused).toBe(1)
  expect(found.share).toBeGreaterThan(0.97)
})

test('a stray 429 in every half-minute costs a tenth at most', async () => {
  const strays = Array.from({ length: 10 }, (_, at) => (at + 1) * (MINUTE / 2))
  expect((await average(1, strays, 5 * MINUTE, MINUTE)).share).toBeGreaterThan(0.9)
})

test.each([
  [0.5, 0.8],
  [0.8, 0.85],
])('a lane finds out by 429s alone that a limit is really %d of what is configured', async (share, least) => {
  const found = await average(share, [], 5 * MINUTE, MINUTE / 2)
  expect(found.share).toBeGreaterThan(least)
})

test.each([10, 20, 60])(
  'a lane that learns its window finds out half the limit as fast as one that knows it, where each 429 asks for %d s',
  async (seconds) => {
    const run = (lane: Lane) =>
      average(0.5, [], 20 * MINUTE, 10 * MINUTE, { lane, retryAfterMs: seconds * 1000 })
    const found = await run(LEARNING)
    expect(found.share).toBeGreaterThan((await run(LANE)).share - 0.01)
    expect(found.refused).toBeLessThan(100)
  },
)
