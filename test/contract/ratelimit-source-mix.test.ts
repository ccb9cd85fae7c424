import { expect, test } from 'vitest'
import { runSourceMix } from './ratelimit-source-mix.ts'
import { makeTwin } from './ratelimit-subjects.ts'

const SEEDS = [1, 2, 3, 4]

test.each([[[0.5, 0.3, 0.2]], [[0.5, 0.5]], [[0.4, 0.2, 0.2, 0.2]]])(
  'sources with shares of %j of the limits are filled by calls of mixed sizes, none beyond its own',
  async (shares) => {
    let sum = 0
    for (const seed of SEEDS) {
      const { share, refused } = await runSourceMix(makeTwin().create(), shares, seed)
      expect(refused, `seed ${seed}`).toBe(0)
      expect(share, `seed ${seed}`).toBeGreaterThan(0.97)
      sum += share
    }
    expect(sum / SEEDS.length).toBeGreaterThanOrEqual(0.978)
  },
)
