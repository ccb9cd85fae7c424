import { expect, it } from 'vitest'
import { runKey } from '../../../durable/keys.ts'
import { createDurableScripts } from '../../../durable/scripts.ts'
import { createDurableRuns } from '../../../durable/store.ts'
import { UnreadableError } from '../../../lib/sealer.ts'
import { testKeys, testSealer } from '../../helpers/encryption.ts'
import { openTestStore, TENANT, type TestStore } from '../../helpers/store.ts'

const [first, second] = testKeys

function openRuns(store: TestStore, keys: readonly string[]) {
  return createDurableRuns({
    redis: store.redis,
    scripts: createDurableScripts(store.redis),
    root: () => store.root,
    sealer: testSealer(keys),
    listen: store.pubsub.listen,
    retainMs: () => 60_000,
    now: Date.now,
  })
}

it('the value of a signal is stored encrypted, and opens for its own step alone', async () => {
  const store = await openTestStore()
  const runs = openRuns(store, [first])
  await runs.begin(TENANT, 'report', 'approval', { kind: 'signal', timeoutMs: null })
  await runs.signal(TENANT, 'report', 'approval', { said: 'a canary in a mine' }, null)
  await runs.begin(TENANT, 'report', 'other', { kind: 'signal', timeoutMs: null })
  await runs.signal(TENANT, 'report', 'other', 'something else', null)
  expect(await store.dump()).not.toContain('canary')
  expect(await runs.find(TENANT, 'report', 'approval')).toMatchObject({
    signal: { value: { said: 'a canary in a mine' } },
  })
  await expect(openRuns(store, [second]).find(TENANT, 'report', 'approval')).rejects.toThrow(UnreadableError)

  const values = `${runKey(store.root, 'report')}:values`
  const moved = await store.redis.hgetBuffer(values, 'approval')
  await store.redis.hset(values, 'other', moved!)
  await expect(runs.find(TENANT, 'report', 'other')).rejects.toThrow(UnreadableError)
})

it('the digest of a create object is keyed, and a step is the same after the key was changed', async () => {
  const store = await openTestStore()
  const plain = 'a digest of a prompt'
  const begin = (keys: readonly string[], digest = plain) => {
    const runs = openRuns(store, keys)
    const request = { kind: 'job', fingerprints: runs.digests(digest), jobId: 'job_1' } as const
    return runs.begin(TENANT, 'report', 'outline', request)
  }
  await begin([first])
  expect(await store.dump()).not.toContain(plain)
  // As if its job existed.
  await store.redis.hset(`${store.root}:job:job_1`, 'status', 'queued')
  expect((await begin([second, first])).kind).toBe('known')
  expect((await begin([second, first], 'another')).kind).toBe('changed')
})
