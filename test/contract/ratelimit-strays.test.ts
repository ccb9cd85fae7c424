import { expect, test } from 'vitest'
import { runStrays } from './ratelimit-strays.ts'
import { laneWith, makeTwin } from './ratelimit-subjects.ts'

const LANE = laneWith({ requests_per_minute: 1800, headroom: 1 })
const SEEDS = [1, 2, 3]
const MINUTE = 60_000

async function average(share: number, strays: readonly number[], runMs: number, fromMs: number) {
  const runs: { share: number; refused: number }[] = []
  for (const seed of SEEDS) {
    const subject = makeTwin().create()
    runs.push(await runStrays(subject, LANE, { share, strays, runMs, fromMs, seed }))
  }
  const mean = (read: (run: (typeof runs)[number]) => number) =>
    runs.reduce((sum, run) => sum + read(run), 0) / runs.length
  const result = { share: mean((run) => run.share), refused: mean((run) => run.refused) }
  console.info(`strays: ${JSON.stringify({ granted: share, strays: strays.length, ...result })}`)
  return result
}

test('one stray 429 costs its second of pause, and hardly more', async () => {
  const found = await average(1, [MINUTE], 2 * MINUTE, MINUTE)
  expect(found.refused).toBe(1)
  expect(found.share).toBeGreaterThan(0.97)
})

test('a stray 429 in every half-minute costs a tenth at the most', async () => {
  const strays = Array.from({ length: 10 }, (_, at) => (at + 1) * (MINUTE / 2))
  expect((await average(1, strays, 5 * MINUTE, MINUTE)).share).toBeGreaterThan(0.9)
})

test.each([
  [0.5, 0.8],
  [0.8, 0.85],
])('a limit that is really %d of what is configured is found out by 429s alone', async (share, least) => {
  const found = await average(share, [], 5 * MINUTE, MINUTE / 2)
  expect(found.share).toBeGreaterThan(least)
})
