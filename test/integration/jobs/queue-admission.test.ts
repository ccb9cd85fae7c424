import { expect, test } from 'vitest'
import { createQueueAdmission } from '../../../jobs/queue-admission.ts'
import { newJob, openTestStore, submit } from '../../helpers/store.ts'

test('there is room until all tenants together have as many open jobs as they may, counted again each second', async () => {
  const store = await openTestStore()
  let time = 0
  const room = createQueueAdmission({
    redis: store.redis,
    prefix: store.prefix,
    tenants: async () => ['acme', 'birch'],
    most: () => 2,
    now: () => time,
  })
  expect(await room.isFull()).toBe(false)
  await submit(store, newJob({ tenant: 'acme', cache: 'off' }))
  await submit(store, newJob({ tenant: 'birch', cache: 'off' }))
  expect(await room.isFull()).toBe(false)
  time += 1000
  expect(await room.isFull()).toBe(true)
})

test('what this process let in counts at once', async () => {
  const store = await openTestStore()
  const { redis, prefix } = store
  const room = createQueueAdmission({ redis, prefix, tenants: async () => [], most: () => 3, now: () => 0 })
  expect(await room.isFull()).toBe(false)
  room.fill(3)
  expect(await room.isFull()).toBe(true)
})
