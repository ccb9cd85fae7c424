import { expect, test } from 'vitest'
import { createGathering } from '../../../provider-batches/gathering.ts'
import { createProviderBatchScripts } from '../../../provider-batches/scripts.ts'
import { createProviderBatchStore } from '../../../provider-batches/store.ts'
import { newJob, openTestStore, TENANT } from '../../helpers/store.ts'

test('a lane that is trimmed while a job is added to it is listed', async () => {
  const { redis, prefix } = await openTestStore()
  const scripts = createProviderBatchScripts(redis)
  const store = createProviderBatchStore({ redis, scripts, prefix })
  const gathering = createGathering({
    ...{ redis, prefix, weightOf: () => 1, now: Date.now },
    // Another worker looks at the lane just before it has a job.
    scripts: async (...call) => {
      await store.trim('up/m')
      return scripts(...call)
    },
  })
  const { cost } = newJob()
  await gathering.add([
    {
      ...{ tenant: TENANT, id: 'j', entry: 1, lane: 'up/m', priority: 'normal', notBefore: null, cost },
      gather: { type: 'chat', leaveAt: null, bytes: 300 },
    },
  ])
  expect(await store.lanes()).toEqual(['up/m'])
})
