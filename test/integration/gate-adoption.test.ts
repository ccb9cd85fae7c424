import { expect, it } from 'vitest'
import { createRedis } from '../../lib/redis.ts'
import { createGate } from '../../ratelimit/create-gate.ts'
import { callOf, laneWith } from '../contract/ratelimit-subjects.ts'
import { keysOf, testRedis } from '../helpers/redis.ts'

it('takes over what an earlier release kept of a lane, once, and stops its workers there', async () => {
  const place = testRedis()
  const redis = createRedis({ ...place, role: 'bullmq', name: 'test-adoption' })
  try {
    const lane = laneWith({ requests_per_minute: 60_000, tokens_per_minute: 60_000_000, max_concurrency: 8 })
    const create = () => createGate({ redis, prefix: place.prefix, random: () => 0 })
    const before = create()
    const { permits } = await before.take(lane, [{ cost: callOf(500) }])
    await before.settle(lane, [{ permit: permits[0]!, actual: callOf(300) }])
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect((await before.take(lane, [{ cost: callOf(100) }])).permits).toHaveLength(1)
    await before.pause(lane, Number.POSITIVE_INFINITY, 'by hand')
    const kept = await before.read(lane)

    // The names that earlier releases gave the same keys.
    const now = `${place.prefix}:{g:provider}:lane:model:`
    const old = `${place.prefix}:{l:${lane.id}}:`
    for (const key of await keysOf(redis, `${now}*`)) {
      await redis.restore(old + key.slice(now.length), 0, (await redis.dumpBuffer(key))!)
      await redis.del(key)
    }

    const after = create()
    const state = await after.read(lane)
    expect(state).toMatchObject({
      inFlight: 1,
      pausedReason: 'by hand',
      used: kept.used,
      taken: kept.taken,
      refunded: kept.refunded,
    })
    expect(await redis.pttl(`${old}bucket`)).toBeGreaterThan(0)
    expect(await redis.getBuffer(`${old}bucket`)).toSatisfy((bucket: Buffer) => bucket.includes('movedAt'))

    // The operator resumes, and the lane is deleted: the old state does not come back.
    await after.resume(lane)
    for (const key of await keysOf(redis, `${now}*`)) await redis.del(key)
    expect(await create().read(lane)).toMatchObject({ inFlight: 0, pausedUntil: null, used: { requests: 0 } })
  } finally {
    redis.disconnect()
  }
})
