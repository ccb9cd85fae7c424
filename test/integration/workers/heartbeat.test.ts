import { expect, it, onTestFinished } from 'vitest'
import { resolveLane } from '../../../config/lanes.ts'
import { createLeases } from '../../../jobs/leases.ts'
import { laneRoot } from '../../../ratelimit/addresses.ts'
import { createGate } from '../../../ratelimit/create-gate.ts'
import { renewInterval, startHeartbeat } from '../../../workers/heartbeat.ts'
import { createHeldEntries } from '../../../workers/held-entries.ts'
import { createRenewal } from '../../../workers/renewal.ts'
import { parseTestConfig } from '../../helpers/api.ts'
import { LANE, openTestStore, submit, type TestStore, until } from '../../helpers/store.ts'

const LOCK_MS = 900
const lane = resolveLane(parseTestConfig(), 'openai/small')!
const cost = { requests: 1, tokens: 1, inputTokens: 1, outputTokens: 0 }

/** A heartbeat with its thread; it records each renewal by the main loop. */
function open(store: TestStore, target: object = {}) {
  const gate = createGate({ redis: store.redis, prefix: store.prefix, leaseMs: LOCK_MS })
  const leases = createLeases({ ...store, lockMs: LOCK_MS, placeMs: LOCK_MS })
  const renewal = createRenewal({ leases, gate })
  const errors: string[] = []
  let byMainLoop = 0
  const heartbeat = startHeartbeat({
    renewal: {
      ...renewal,
      renew() {
        byMainLoop++
        return renewal.renew()
      },
    },
    renewMs: LOCK_MS / 3,
    limitsOf: () => ({ limits: lane.limits }),
    thread: {
      redis: {
        ...(store.cluster === undefined ? { url: store.url } : { cluster: store.cluster }),
        ...target,
      },
      prefix: store.prefix,
      lockMs: LOCK_MS,
      placeMs: LOCK_MS,
      renewMs: LOCK_MS / 3,
      hungMs: 60_000,
    },
    onError: (error, what) => errors.push(`${what}: ${error}`),
  })
  onTestFinished(() => heartbeat.stop())
  return { gate, leases, heartbeat, errors, renewedByMainLoop: () => byMainLoop }
}

const rest = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const threadOf = async (store: TestStore) =>
  String(await store.redis.client('LIST'))
    .split('\n')
    .find((line) => line.includes('name=sluice-worker-heartbeat'))

it('the thread renews locks and permits, again after its connection was cut, and stops for what is dropped', async () => {
  const store = await openTestStore({ own: true, stalledAfterMs: 1350 })
  const { gate, heartbeat, renewedByMainLoop } = open(store)
  await submit(store)
  const { held } = await store.start()
  const entries = createHeldEntries({ laneId: LANE, heartbeat })
  entries.hold(held)
  const { permits } = await gate.take(lane, [{ cost }])
  heartbeat.holdPermit(lane.id, permits[0]!)
  const lock = `${store.prefix}:{l:${LANE}}:calls:${held.id}-1:lock`
  const leaseEnd = async () =>
    Number(await store.redis.zscore(`${laneRoot(store.prefix, lane.id)}permits`, permits[0]!))
  const firstEnd = await leaseEnd()
  await until(async () => (await leaseEnd()) > firstEnd + LOCK_MS)
  await until(async () => (await threadOf(store)) !== undefined)
  const before = renewedByMainLoop()
  const id = /id=(\d+)/.exec((await threadOf(store))!)![1]!
  await store.redis.client('KILL', 'ID', id)
  const cutEnd = await leaseEnd()
  await until(async () => (await leaseEnd()) > cutEnd + 2 * LOCK_MS)
  expect(await store.redis.exists(lock)).toBe(1)
  expect(renewedByMainLoop()).toBeLessThanOrEqual(before + 2)

  entries.drop(held)
  heartbeat.dropPermit(lane.id, permits[0]!)
  await until(async () => (await store.redis.exists(lock)) === 0)
})

/** A job that is held by its place in the outbox of a tenant, and the end of that time. */
async function openPlace(store: TestStore, tenant: string) {
  await submit(store)
  const { held } = await store.start()
  const outbox = `${store.prefix}:{t:${tenant}}:outbox`
  const place = (id: string) => ({ ...held, id, tenant, placed: {} as NonNullable<typeof held.placed> })
  const endOf = async (id: string) => Number(await store.redis.zscore(outbox, `${id}-1`))
  await store.redis.zadd(outbox, 1, 'job_a-1', 1, 'job_b-1')
  return { place, endOf }
}

it('the thread renews what was added right before the main loop was blocked', async () => {
  const store = await openTestStore({ stalledAfterMs: 1350 })
  const { heartbeat } = open(store)
  const { place, endOf } = await openPlace(store, 'acme')
  heartbeat.hold(place('job_a'), LANE)
  await until(async () => (await endOf('job_a')) > 1)
  heartbeat.hold(place('job_b'), LANE)
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2 * LOCK_MS)
  expect(await endOf('job_b')).toBeGreaterThan(1)
})

it('a job that changes hands within the process is renewed until the last of them lets go', async () => {
  const store = await openTestStore({ stalledAfterMs: 1350 })
  const { heartbeat } = open(store)
  const { place, endOf } = await openPlace(store, 'acme')
  const [first, second] = [place('job_a'), place('job_a')]
  heartbeat.hold(first, LANE)
  heartbeat.hold(second, LANE)
  heartbeat.drop(first, LANE)
  heartbeat.drop(first, LANE)
  await until(async () => (await endOf('job_a')) > 1)
  const renewed = await endOf('job_a')
  await until(async () => (await endOf('job_a')) > renewed)
})

it('a name too long for a slot is renewed all the same, until it is dropped', async () => {
  const store = await openTestStore({ stalledAfterMs: 1350 })
  const { heartbeat } = open(store)
  const { place, endOf } = await openPlace(store, 't'.repeat(300))
  const held = place('job_a')
  heartbeat.hold(held, LANE)
  await until(async () => (await endOf('job_a')) > 1)
  heartbeat.drop(held, LANE)
  await rest(LOCK_MS)
  const last = await endOf('job_a')
  await rest(LOCK_MS)
  expect(await endOf('job_a')).toBe(last)
})

it('the main loop renews while no thread can', async () => {
  const store = await openTestStore({ stalledAfterMs: 1350 })
  const { heartbeat, errors, renewedByMainLoop } = open(store, { tls: { ca: '/nowhere/ca.pem' } })
  await submit(store)
  const { held } = await store.start()
  heartbeat.hold(held, LANE)
  await until(() => errors.filter((error) => error.startsWith('the heartbeat thread')).length >= 2)
  await rest(2 * LOCK_MS)
  expect(await store.redis.exists(`${store.prefix}:{l:${LANE}}:calls:${held.id}-1:lock`)).toBe(1)
  expect(renewedByMainLoop()).toBeGreaterThan(2)
})

it('locks, places and permits are renewed while the memory of Redis is full', async () => {
  const store = await openTestStore({ own: true })
  const { gate, leases } = open(store)
  await submit(store)
  const { held } = await store.start()
  const { permits } = await gate.take(lane, [{ cost }])
  await store.redis.zadd(`${store.root}:outbox`, 1, 'job_x-1')
  await store.redis.config('SET', 'maxmemory', '1')
  await expect(store.redis.set('anything', '1')).rejects.toThrow('OOM')
  expect(await leases.renewLocks(LANE, [{ entry: `${held.id}-1`, token: held.token }])).toEqual([])
  await leases.renewPlaces('acme', ['job_x-1', 'job_y-1'])
  await gate.renew(lane, permits)
  expect(Number(await store.redis.zscore(`${store.root}:outbox`, 'job_x-1'))).toBeGreaterThan(
    Date.now() - 1000,
  )
  expect(await store.redis.zscore(`${store.root}:outbox`, 'job_y-1')).toBe(null)
})

it('a lock that another worker has is reported as lost, and stays unchanged', async () => {
  const store = await openTestStore()
  const { leases } = open(store)
  await submit(store)
  const { held } = await store.start()
  const entry = `${held.id}-1`
  expect(await leases.renewLocks(LANE, [{ entry, token: 'another' }])).toEqual([entry])
  const left = await store.redis.pttl(`${store.prefix}:{l:${LANE}}:calls:${entry}:lock`)
  expect(left).toBeGreaterThan(LOCK_MS)
})

it.each([200, 667, 10_000, 3_600_000])('a lock of %i ms is renewed twice before it ends', (lockMs) => {
  expect(renewInterval(lockMs) * 2).toBeLessThanOrEqual(lockMs)
})
