import { expect, it, onTestFinished } from 'vitest'
import { resolveLane } from '../../../config/lanes.ts'
import type { Config } from '../../../config/schema.ts'
import { createLeases, lockLease, placeLease } from '../../../jobs/leases.ts'
import type { Queues } from '../../../jobs/queue.ts'
import type { Gate } from '../../../ratelimit/gate.ts'
import { type Heartbeat, renewInterval, startHeartbeat } from '../../../workers/heartbeat.ts'
import { createRenewal } from '../../../workers/renewal.ts'
import { submit, TENANT, type TestStore, until } from '../../helpers/store.ts'
import { ended, openWorkshop } from './fixture.ts'

/** Locks last 667 ms, and are checked every 333 ms. */
const stalledAfterMs = 1000
const LATENCY_MS = 2000

/** Holds back the first entry from the queue, as a process does that is held up; `reached` resolves once it is. */
function holdUp(store: TestStore) {
  const reached = Promise.withResolvers<void>()
  const goOn = Promise.withResolvers<void>()
  let isFirst = true
  const pause = async () => {
    if (!isFirst) return
    isFirst = false
    reached.resolve()
    await goOn.promise
  }
  const afterFetch: Queues = {
    ...store.queues,
    consume(lane, options) {
      const queue = store.queues.consume(lane, options)
      const fetch = async (count: number) => {
        const fetched = await queue.fetch(count)
        if (fetched.length > 0) await pause()
        return fetched
      }
      return { ...queue, fetch }
    },
  }
  return { pause, afterFetch, reached: reached.promise, goOn: goOn.resolve }
}

/** The renewal is held up as well. */
const silent = { hold() {}, drop() {}, holdPermit() {}, dropPermit() {}, stop: async () => {} }

/** A heartbeat in which only the thread renews. */
async function threadOf(store: TestStore, gate: Gate, config: Config): Promise<Heartbeat> {
  const lockMs = lockLease(stalledAfterMs)
  const placeMs = placeLease(stalledAfterMs)
  const renewMs = renewInterval(lockMs)
  const renewal = createRenewal({ leases: createLeases({ ...store, lockMs, placeMs }), gate })
  const heartbeat = startHeartbeat({
    renewal: { ...renewal, renew: async () => {} },
    renewMs,
    limitsOf: (lane) => resolveLane(config, lane),
    thread: { redis: { url: store.url }, prefix: store.prefix, lockMs, placeMs, renewMs, hungMs: 60_000 },
    onError() {},
  })
  onTestFinished(() => heartbeat.stop())
  return heartbeat
}

it.each([
  ['the main loop', false],
  ['the thread', true],
])(
  'calls that last longer than the lease of their permits keep within max_concurrency, by %s',
  async (_, byThread) => {
    const { store, simulator, gate, config, work } = await openWorkshop({
      limits: '{ max_concurrency: 1 }',
      permitLeaseMs: byThread ? 1000 : 400,
      store: { stalledAfterMs, own: byThread },
      simulator: { latencyMs: LATENCY_MS },
    })
    for (let worker = 0; worker < 2; worker++)
      await work(undefined, byThread ? { heartbeat: await threadOf(store, gate, config) } : {})
    const isThread = (line: string) => line.includes('name=sluice-worker-heartbeat')
    const threads = async () =>
      String(await store.redis.client('LIST'))
        .split('\n')
        .filter(isThread).length
    if (byThread) await until(async () => (await threads()) === 2)
    const jobs = await Promise.all([submit(store, {}, 'one'), submit(store, {}, 'other')])
    for (const { id } of jobs)
      expect(await ended(store, id)).toMatchObject({ status: 'completed', attempts: 1 })
    expect(simulator.state()).toMatchObject({ calls: 2, peak_concurrency: 1 })
  },
)

it('a job whose call lasts longer than its lock is called once', async () => {
  const { store, simulator, work } = await openWorkshop({
    store: { stalledAfterMs },
    simulator: { latencyMs: LATENCY_MS },
  })
  await work()
  await work()
  const { id } = await submit(store)
  expect(await ended(store, id)).toMatchObject({ status: 'completed', attempts: 1 })
  expect(await store.jobs.attempts(TENANT, id)).toMatchObject([{ outcome: 'completed', ambiguous: false }])
  expect(simulator.state().calls).toBe(1)
})

it.each(['fetch', 'claim'] as const)(
  'a job that another worker took over while a worker was blocked before the end of its %s is called once',
  async (where) => {
    const { store, simulator, work, gate } = await openWorkshop({
      store: { stalledAfterMs },
      simulator: { latencyMs: LATENCY_MS },
    })
    const held = holdUp(store)
    const loses = where === 'fetch' ? { queues: held.afterFetch } : { gate: gateAfter(held.pause) }
    await work(undefined, { ...loses, heartbeat: silent })
    const { id } = await submit(store)
    await held.reached
    await work()
    // The other one is in the middle of its call.
    await until(() => simulator.state().in_flight === 1)
    held.goOn()
    expect(await ended(store, id)).toMatchObject({ status: 'completed', attempts: 1 })
    expect(await store.jobs.attempts(TENANT, id)).toMatchObject([{ outcome: 'completed', ambiguous: false }])
    expect(simulator.state().calls).toBe(1)

    /** The permit exists at once, and is known late. */
    function gateAfter(pause: () => Promise<void>) {
      const { take } = gate
      return {
        ...gate,
        async take(...args: Parameters<typeof take>) {
          const answer = await take(...args)
          await pause()
          return answer
        },
      }
    }
  },
)
