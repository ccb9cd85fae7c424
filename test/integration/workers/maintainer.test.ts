import { expect, it, onTestFinished } from 'vitest'
import { readMaintainer } from '../../../jobs/maintainer-lease.ts'
import { standForElection } from '../../helpers/maintainer.ts'
import { openTestStore, until } from '../../helpers/store.ts'

/** Fast enough for a test. */
const TIMES = { leaseMs: 800, lookMs: 50 }

it('one worker of several runs the tasks, and another takes over at once when it stops', async () => {
  const store = await openTestStore()
  const runs: string[] = []
  const leaseMs = 10_000
  const workers = ['a', 'b', 'c'].map((name) => {
    const maintainer = standForElection(store, name, { ...TIMES, leaseMs })
    maintainer.add({ name: 'task', everyMs: 20, run: async () => runs.push(name) })
    return { name, maintainer }
  })
  await until(() => runs.length >= 5)
  const first = runs[0]!
  expect(new Set(runs)).toEqual(new Set([first]))
  expect(workers.filter(({ maintainer }) => maintainer.isElected()).map(({ name }) => name)).toEqual([first])
  expect(await readMaintainer(store.redis, store.prefix)).toMatchObject({ worker: first })

  await workers.find(({ name }) => name === first)!.maintainer.stop()
  const stoppedAt = performance.now()
  const before = runs.length
  await until(() => runs.length > before)
  expect(runs.at(-1)).not.toBe(first)
  // At the next look, not at the end of the lease.
  expect(performance.now() - stoppedAt).toBeLessThan(leaseMs)
})

it('a holder that does not renew its lease is replaced, and stops its tasks', async () => {
  const store = await openTestStore()
  const changes: boolean[] = []
  let isFrozen = false
  const signals: AbortSignal[] = []
  const thaw = Promise.withResolvers<void>()
  onTestFinished(() => thaw.resolve())
  const frozenRedis = new Proxy(store.redis, {
    get(target, name) {
      const value = Reflect.get(target, name, target)
      if (name === 'evalsha' && isFrozen)
        return () => thaw.promise.then(() => Promise.reject(new Error('Connection is closed.')))
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  const holder = standForElection({ ...store, redis: frozenRedis }, 'frozen', {
    ...TIMES,
    onChange: (isElected) => changes.push(isElected),
  })
  holder.add({
    name: 'task',
    everyMs: 20,
    async run(signal) {
      signals.push(signal)
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
    },
  })
  await until(() => signals.length === 1)
  const next = standForElection(store, 'next', TIMES)
  isFrozen = true
  await until(() => next.isElected())
  // It knew that by itself, before the lease was another's.
  expect(signals[0]!.aborted).toBe(true)
  expect(holder.isElected()).toBe(false)
  expect(changes).toEqual([true, false])
  expect(signals).toHaveLength(1)
  thaw.resolve()
})

it('a task that throws is reported and runs again, and one that takes long has no second run beside it', async () => {
  const store = await openTestStore()
  const told: [string, boolean][] = []
  const slow = Promise.withResolvers<void>()
  onTestFinished(() => slow.resolve())
  let slowRuns = 0
  let failures = 0
  const maintainer = standForElection(store, 'a', {
    ...TIMES,
    onRun: (task, _ms, error) => told.push([task, error !== undefined]),
  })
  maintainer.add({
    name: 'slow',
    everyMs: 10,
    run() {
      slowRuns++
      return slow.promise
    },
  })
  maintainer.add({ name: 'failing', everyMs: 10, run: () => Promise.reject(new Error(`no ${failures++}`)) })
  await until(() => failures >= 3)
  expect(slowRuns).toBe(1)
  expect(told).toContainEqual(['failing', true])
  slow.resolve()
  await until(() => slowRuns >= 2)
})
