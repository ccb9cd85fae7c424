import { expect, it } from 'vitest'
import { createFairness } from '../../../ratelimit/create-fairness.ts'
import { openTestStore } from '../../helpers/store.ts'

it('a turn is kept while the lane keeps counting, and assigned again once counting has started over', async () => {
  const { redis, prefix } = await openTestStore()
  const fairness = createFairness({ redis, prefix })
  const lane = 'sim/kept'
  const waiting = `${prefix}:{l:${lane}}:waiting`
  const entry = { tenant: 'acme', band: 'normal', seconds: 30, weight: 1 } as const
  await redis.zadd(waiting, 1, 'something')
  const tags = await fairness.tag(lane, [entry, entry, entry], { sets: [waiting], lists: [] })
  const starts = tags.map(({ start }) => start)
  expect(starts).toEqual([0, 30, 60])
  await fairness.serve(lane, { start: 60, seconds: 30, waiting, isResumed: false })
  expect(await fairness.holds(lane, starts)).toEqual([true, true, true])
  await redis.del(waiting)
  await fairness.tag(lane, [entry], { sets: [waiting], lists: [] })
  expect(await fairness.holds(lane, starts)).toEqual([true, false, false])
})
