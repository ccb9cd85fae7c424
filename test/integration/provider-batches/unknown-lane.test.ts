import { setTimeout as delay } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { createGathering } from '../../../provider-batches/gathering.ts'
import type { ProviderBatchDeps } from '../../../provider-batches/runner/deps.ts'
import { startProviderBatchRunner } from '../../../provider-batches/runner/runner.ts'
import { createProviderBatchScripts } from '../../../provider-batches/scripts.ts'
import { createProviderBatchStore } from '../../../provider-batches/store.ts'
import { newJob, openTestStore, TENANT } from '../../helpers/store.ts'

test('a worker that does not know the lane of an open batch leaves it to others, without asking for it all the time', async () => {
  const store = await openTestStore()
  const scripts = createProviderBatchScripts(store.redis)
  const parts = { redis: store.redis, scripts, prefix: store.prefix }
  const batches = createProviderBatchStore(parts)
  const lane = 'up/removed'
  const gather = { type: 'chat', leaveAt: null, bytes: 300 } as const
  const { cost } = newJob({ lane, gather })
  const entry = { tenant: TENANT, id: 'job_1', entry: 1, lane, priority: 'normal', notBefore: null } as const
  await createGathering({ ...parts, weightOf: () => 1, now: Date.now }).add([{ ...entry, cost, gather }])
  const held = (await batches.claim(lane, 'token'))!
  const most = { lines: 10, bytes: 1e6, queuedTokens: 1e6 }
  expect(await batches.cut(held, { id: 'pbatch_1', class: 'chat:any', type: 'chat' }, most)).toBe(true)
  await batches.release(held)

  let claims = 0
  const released = Promise.withResolvers<void>()
  const runner = startProviderBatchRunner({
    store: {
      ...batches,
      claim: (...args: Parameters<typeof batches.claim>) => {
        claims++
        return batches.claim(...args)
      },
      release: (...args: Parameters<typeof batches.release>) =>
        batches.release(...args).finally(released.resolve),
    },
    laneOf: () => null,
    onError: released.reject,
  } as unknown as ProviderBatchDeps)
  onTestFinished(() => runner.stop())
  await released.promise
  await delay(300)
  expect(claims).toBeLessThan(5)
  expect(await batches.claim(lane, 'other')).not.toBeNull()
})
