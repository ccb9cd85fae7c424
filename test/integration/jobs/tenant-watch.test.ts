import { expect, it } from 'vitest'
import { createActiveTenants, touchingTenants } from '../../../jobs/active-tenants.ts'
import { tenantRoot } from '../../../jobs/keys.ts'
import { createTenantWatch } from '../../../jobs/tenant-watch.ts'
import { newJob, openTestStore, TENANT, until } from '../../helpers/store.ts'

const OTHERS = Array.from({ length: 20 }, (_, index) => `idle-${index}`)

async function openWatch(walkMs?: number) {
  const store = await openTestStore()
  await store.maintenance.register([TENANT, ...OTHERS])
  const active = createActiveTenants({ ...store, now: Date.now })
  const watch = createTenantWatch({
    ...store,
    tenants: store.maintenance.tenants,
    active,
    keepsHistory: false,
    now: Date.now,
    onFailure({ error }) {
      throw error
    },
    ...(walkMs === undefined ? {} : { walkMs }),
  })
  const scripts = touchingTenants(store.scripts, active, store.prefix)
  await watch.look()
  return { store, watch, active, jobs: store.openJobs({ scripts }) }
}

it('a tenant is looked at as soon as something is written for it, and again when that is due', async () => {
  const { store, watch, active, jobs } = await openWatch()
  expect(await active.list()).toEqual([])
  await jobs.create(newJob({ deadline: Date.now() + 700 }))
  expect(await active.list()).toEqual([TENANT])
  await until(async () => {
    await watch.look()
    return (await store.redis.zcard(`${store.root}:deadlines`)) === 1
  })
  expect(watch.take('deadlines')).toEqual([])
  await until(async () => {
    await watch.look()
    return watch.take('deadlines').includes(TENANT)
  })
  // Returned once, until it was read again.
  expect(watch.take('deadlines')).toEqual([])
  await until(async () => {
    await watch.look()
    return watch.take('deadlines').includes(TENANT)
  })
})

it('a missed change is found when it is the tenant’s turn', async () => {
  const { store, watch } = await openWatch(1000)
  const root = tenantRoot(store.prefix, OTHERS[7]!)
  await store.redis.zadd(`${root}:outbox`, 1, 'job_lost-1')
  await until(async () => {
    await watch.look()
    return watch.take('outbox').includes(OTHERS[7]!)
  })
})

it('a process names a tenant once for many writes, and again one that could not be named', async () => {
  const { store } = await openWatch()
  const named: string[] = []
  let isAway = true
  const redis = new Proxy(store.redis, {
    get(target, name) {
      if (name === 'zadd')
        return async (_key: string, _at: number, tenant: string) => {
          named.push(tenant)
          if (isAway) throw new Error('Connection is closed.')
        }
      return Reflect.get(target, name, target)
    },
  })
  const active = createActiveTenants({ redis, prefix: store.prefix, now: Date.now })
  active.touch('a')
  await until(() => {
    isAway = false
    active.touch('a')
    return named.length === 2
  })
  for (let count = 0; count < 100; count++) active.touch('a')
  expect(named).toEqual(['a', 'a'])
})
