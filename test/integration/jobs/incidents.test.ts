import { expect, test } from 'vitest'
import type { Incident } from '../../../jobs/incidents.ts'
import { createMaintenance } from '../../../jobs/maintenance.ts'
import type { WorkEvents } from '../../../jobs/work.ts'
import { createEmitter } from '../../../lib/emitter.ts'
import { complete, intent, loseLease, newJob, openTestStore, submit, TENANT } from '../../helpers/store.ts'

const trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
const origin = { requestId: 'request-1', trace }

test('a call has the origin that the record of its job names', async () => {
  const store = await openTestStore()
  await submit(store, origin)
  await submit(store, {}, 'of nobody')
  const [first, second] = [await store.start(), await store.start()]
  expect(first.claimed).toMatchObject({ ...origin, lane: 'sim/chat' })
  expect(second.claimed).toMatchObject({ requestId: null, trace: null })
})

test('followers that become leaders have their own', async () => {
  const store = await openTestStore()
  const leader = await submit(store, origin)
  await submit(store, { requestId: 'request-2', trace: trace.replace('4bf', '5c0') })
  await store.jobs.cancel(TENANT, leader.id)
  expect((await store.start()).claimed).toMatchObject({
    requestId: 'request-2',
    trace: trace.replace('4bf', '5c0'),
  })
})

test('a delivery has the origin that the record of its job names', async () => {
  const store = await openTestStore()
  const webhook = { url: 'https://receiver.example/hook', events: ['job.completed' as const] }
  const job = await submit(store, { ...origin, webhook })
  await complete(store, await store.start())
  const [id] = await store.redis.lrange(`${store.root}:job:${job.id}:deliveries`, 0, 0)
  expect(await store.redis.hgetall(`${store.root}:delivery:${id}`)).toMatchObject({
    lane: 'sim/chat',
    request_id: 'request-1',
    trace,
  })
})

/** Events whose incidents are kept. */
function listenTo(told: Incident[]) {
  const events = createEmitter<WorkEvents>((error) => {
    throw error
  })
  events.on('job.incident', (incident) => told.push(incident))
  return events
}

test('a call that was lost with its worker is reported once, with the job that it ends', async () => {
  const store = await openTestStore()
  const told: Incident[] = []
  const work = store.openWork({ events: listenTo(told) })
  const job = await submit(store, origin)
  const { held } = await store.start()
  for (const token of ['second', 'second', 'third', 'fourth']) {
    await loseLease(store, held)
    await work.start([{ ...held, token }], intent)
  }
  const about = { tenant: TENANT, job: job.id, lane: 'sim/chat', requestId: 'request-1' }
  expect(told).toEqual([
    { ...about, kind: 'lost', detail: { attempt: 1 } },
    { ...about, kind: 'lost', detail: { attempt: 2 } },
    { ...about, kind: 'failed', detail: { code: 'worker_lost' } },
  ])
})

test('a job whose deadline passed is reported, no matter which process finds it', async () => {
  const store = await openTestStore()
  const told: Incident[] = []
  const events = listenTo(told)
  const deadline = Date.now() + 30
  const found = await submit(store, { ...origin, deadline })
  const held = await store.fetch()
  const swept = await store.jobs.create(newJob({ deadline, requestId: 'request-2' }, 'another'))
  await new Promise((resolve) => setTimeout(resolve, 40)) // The deadline, by the clock of Redis.
  await store.openWork({ events }).start([held], intent)
  await createMaintenance({
    ...{ ...store, retainMs: () => 1000, keepsHistory: false, now: Date.now, events },
  }).sweep()
  const about = { kind: 'failed', tenant: TENANT, lane: 'sim/chat', detail: { code: 'deadline_exceeded' } }
  expect(told).toEqual([
    { ...about, job: found.id, requestId: 'request-1' },
    { ...about, job: swept.kind === 'created' && swept.job.id, requestId: 'request-2' },
  ])
})
