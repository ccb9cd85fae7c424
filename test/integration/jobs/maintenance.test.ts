import { expect, it } from 'vitest'
import { tenantRoot, tenantsKey } from '../../../jobs/keys.ts'
import { createMaintenance } from '../../../jobs/maintenance.ts'
import { createOutbox } from '../../../jobs/outbox.ts'
import type { UpkeepFailure } from '../../../lib/visit-all.ts'
import { newJob, openTestStore, read, submit, TENANT, type TestStore } from '../../helpers/store.ts'

function open(store: TestStore, redis = store.redis) {
  const failures: UpkeepFailure[] = []
  const onFailure = (failure: UpkeepFailure) => failures.push(failure)
  const outbox = createOutbox({ ...store, now: Date.now, onFailure })
  const maintenance = createMaintenance({
    ...store,
    redis,
    outbox,
    retainMs: () => 60_000,
    keepsHistory: false,
    now: Date.now,
    onFailure,
  })
  return { maintenance, failures }
}

it('tenants are named again when Redis lost them, or was away when they came', async () => {
  const store = await openTestStore()
  let isAway = true
  const redis = new Proxy(store.redis, {
    get(target, name) {
      if (name === 'sadd' && isAway) return () => Promise.reject(new Error('Connection is closed.'))
      const value = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  const { maintenance } = open(store, redis)
  await expect(maintenance.register(['late'])).rejects.toThrow()
  isAway = false
  expect(await maintenance.tenants()).toContain('late')
  await store.redis.del(tenantsKey(store.prefix))
  expect(await maintenance.tenants()).toEqual(['late'])
  expect(await store.redis.smembers(tenantsKey(store.prefix))).toEqual(['late'])
})

it('a tenant and a job that fail cost only themselves, and are reported', async () => {
  const store = await openTestStore()
  const { maintenance, failures } = open(store)
  await store.redis.set(`${tenantRoot(store.prefix, 'a-broken')}:outbox`, 'no sorted set')
  await maintenance.register(['a-broken', TENANT])
  const due = await submit(store, newJob({ deadline: Date.now() + 50 }))
  const broken = 'job_broken'
  await store.redis.set(`${store.root}:job:${broken}`, 'no record')
  await store.redis.zadd(`${store.root}:deadlines`, 1, broken)
  await expect
    .poll(async () => {
      await maintenance.sweep()
      return (await read(store, due.id)).status
    })
    .toBe('failed')
  expect(failures.map(({ task, tenant, id }) => [task, tenant, id])).toEqual(
    expect.arrayContaining([
      ['sweep', 'a-broken', undefined],
      ['deadlines', TENANT, broken],
    ]),
  )
})
