import { describe, expect, it } from 'vitest'
import { createCallBooks } from '../../../jobs/book-call.ts'
import type { AttemptEnd } from '../../../jobs/finish.ts'
import { keepMaintained } from '../../helpers/maintainer.ts'
import { keysOf } from '../../helpers/redis.ts'
import {
  intent,
  jobError,
  newJob,
  openTestStore,
  read,
  retryNow,
  startAgain,
  submit,
  success,
  TENANT,
  type TestStore,
} from '../../helpers/store.ts'

/** Billionths of a dollar. */
async function moneyOf(store: TestStore): Promise<{ spent: number; reserved: number; running: number }> {
  const [spent] = await keysOf(store.redis, `${store.root}:money:spent:*`)
  const numberAt = async (key: string | undefined) =>
    key === undefined ? 0 : Number(await store.redis.get(key))
  return {
    spent: await numberAt(spent),
    reserved: await numberAt(`${store.root}:money:reserved`),
    running: await numberAt(`${store.root}:money:running`),
  }
}

const usage = { input_tokens: 7, output_tokens: 5, total_tokens: 12 }
const cut: AttemptEnd = {
  outcome: 'aborted',
  latency_ms: 9,
  status: 200,
  ambiguous: true,
  usage,
  cost_usd: 0.2,
  cost_is_estimate: true,
}
const giveUp = { ...retryNow, countsAsAttempt: false, reason: 'cancelled' }
const USD = 1e9

describe('a call is booked once', () => {
  it('when anything is sent again of a job that was deleted in mid-call', async () => {
    const store = await openTestStore()
    const job = await submit(store, { estimateUsd: 0.7 })
    const { claimed } = await store.start()
    await store.jobs.remove(TENANT, job.id)
    // The cost is unknown yet, and the worker may be dead.
    expect(await moneyOf(store)).toEqual({ spent: 0.7 * USD, reserved: 0, running: 0 })
    const completion = { claimed, end: success, result: { a: 1 }, usage, costUsd: 0.5 }
    for (let time = 0; time < 3; time++) {
      await store.work.complete([completion])
      expect((await moneyOf(store)).spent).toBe(0.5 * USD)
    }
    const [booked] = await keysOf(store.redis, `${store.root}:booked:*`)
    const ttl = await store.redis.pttl(booked!)
    expect(ttl).toBeGreaterThan(86_400_000 - 60_000)
    expect(ttl).toBeLessThanOrEqual(86_400_000)
  })

  it('without a reservation either', async () => {
    const store = await openTestStore()
    const job = await submit(store)
    const { claimed } = await store.start()
    await store.jobs.remove(TENANT, job.id)
    const completion = { claimed, end: success, result: { a: 1 }, usage, costUsd: 0.5 }
    for (let time = 0; time < 3; time++) await store.work.complete([completion])
    expect((await moneyOf(store)).spent).toBe(0.5 * USD)
  })

  it('of a job that was deleted after its end, when a worker or its spool stores it again', async () => {
    const store = await openTestStore()
    const job = await submit(store, { estimateUsd: 0.7 })
    const { claimed } = await store.start()
    const finishes = store.work.encode([{ claimed, end: success, result: { a: 1 }, usage, costUsd: 0.5 }])
    await store.work.restore(finishes)
    await store.work.restore(finishes)
    await store.jobs.remove(TENANT, job.id)
    await store.work.restore(finishes)
    expect(await moneyOf(store)).toEqual({ spent: 0.5 * USD, reserved: 0, running: 0 })
  })

  it('when it was cut off, failed, or put back twice', async () => {
    const store = await openTestStore()
    const job = await submit(store, { estimateUsd: 0.7, group: 'g' })
    const { held, claimed } = await store.start()
    for (let time = 0; time < 2; time++) await store.work.requeue(claimed, cut, retryNow)
    expect(await moneyOf(store)).toEqual({ spent: 0.2 * USD, reserved: 0.7 * USD, running: 0 })
    await store.lane().delay(held, 0)
    const again = await store.start()
    for (let time = 0; time < 2; time++)
      await store.work.fail(again.claimed, { ...cut, cost_usd: 0.3 }, jobError, false)
    expect(await moneyOf(store)).toEqual({ spent: 0.5 * USD, reserved: 0, running: 0 })
    expect(await read(store, job.id)).toMatchObject({
      status: 'failed',
      cost_usd: 0.5,
      cost_is_estimate: true,
    })
    expect(await store.jobs.group(TENANT, 'g')).toMatchObject({ cost_usd: 0.5 })
  })

  it('when it is cancelled: by its reservation, until its worker reports', async () => {
    const store = await openTestStore()
    const job = await submit(store, { estimateUsd: 0.7, group: 'g' })
    const { claimed } = await store.start()
    await store.jobs.cancel(TENANT, job.id)
    expect(await moneyOf(store)).toEqual({ spent: 0.7 * USD, reserved: 0, running: 0 })
    expect(await read(store, job.id)).toMatchObject({ cost_usd: 0.7, cost_is_estimate: true })
    for (let time = 0; time < 2; time++) await store.work.requeue(claimed, cut, giveUp)
    expect(await moneyOf(store)).toEqual({ spent: 0.2 * USD, reserved: 0, running: 0 })
    expect(await read(store, job.id)).toMatchObject({
      status: 'cancelled',
      cost_usd: 0.2,
      cost_is_estimate: true,
    })
    expect(await store.jobs.group(TENANT, 'g')).toMatchObject({ cost_usd: 0.2 })
    expect(await store.jobs.attempts(TENANT, job.id)).toMatchObject([{ outcome: 'aborted', cost_usd: 0.2 }])
  })

  it('when its worker is lost: by its reservation, and by its real cost if its result still comes', async () => {
    const store = await openTestStore()
    const job = await submit(store, { estimateUsd: 0.7 })
    const { held, claimed } = await store.start()
    const next = await startAgain(store, held, 'of-another-worker')
    if (next.kind !== 'run') throw new Error('expected a call')
    expect(await moneyOf(store)).toEqual({ spent: 0.7 * USD, reserved: 0.7 * USD, running: 0 })
    expect(await store.jobs.attempts(TENANT, job.id)).toMatchObject([
      { outcome: 'lost', ambiguous: true, cost_usd: 0.7, cost_is_estimate: true },
      { outcome: 'running' },
    ])
    await store.work.complete([
      { claimed: next.claimed, end: success, result: { a: 1 }, usage, costUsd: 0.5 },
    ])
    expect(await read(store, job.id)).toMatchObject({ cost_usd: 1.2, cost_is_estimate: true })
    for (let time = 0; time < 2; time++)
      await store.work.complete([{ claimed, end: success, result: { a: 1 }, usage, costUsd: 0.5 }])
    expect(await moneyOf(store)).toEqual({ spent: 1 * USD, reserved: 0, running: 0 })
  })

  it('of a leader that was cancelled and calls for others', async () => {
    const store = await openTestStore()
    const leader = await submit(store, { estimateUsd: 0.7 })
    const { claimed } = await store.start()
    const follower = await submit(store, { estimateUsd: 0.7 })
    await store.jobs.cancel(TENANT, leader.id)
    for (let time = 0; time < 2; time++)
      await store.work.complete([{ claimed, end: success, result: { a: 1 }, usage, costUsd: 0.5 }])
    expect(await moneyOf(store)).toEqual({ spent: 0.5 * USD, reserved: 0, running: 0 })
    expect(await read(store, follower.id)).toMatchObject({ status: 'completed', cost_usd: 0 })
    expect(await read(store, leader.id)).toMatchObject({ status: 'cancelled', cost_usd: 0.5 })
  })
})

describe('money under way', () => {
  it('is counted while a call runs, and no longer', async () => {
    const store = await openTestStore()
    const work = store.openWork({ budgetOf: () => 10 })
    const start = async () => {
      const [started] = await work.start([await store.fetch()], intent)
      if (started?.kind !== 'run') throw new Error('expected a call')
      return started.claimed
    }
    const limits = { maxQueued: 10, requestsPerMinute: null, budgetUsdPerDay: 10 }
    for (const [name, end] of [
      [
        'done',
        (claimed: Awaited<ReturnType<typeof start>>) =>
          work.complete([{ claimed, end: success, result: {}, usage, costUsd: 0 }]),
      ],
      [
        'failed',
        (claimed: Awaited<ReturnType<typeof start>>) =>
          work.fail(claimed, { outcome: 'failed', latency_ms: 1 }, jobError, false),
      ],
      [
        'retried',
        (claimed: Awaited<ReturnType<typeof start>>) =>
          work.requeue(
            claimed,
            { outcome: 'retryable', latency_ms: 1 },
            { ...retryNow, at: Date.now() + 60_000 },
          ),
      ],
      ['cancelled', (claimed: Awaited<ReturnType<typeof start>>) => store.jobs.cancel(TENANT, claimed.id)],
      ['deleted', (claimed: Awaited<ReturnType<typeof start>>) => store.jobs.remove(TENANT, claimed.id)],
    ] as const) {
      await store.jobs.create(newJob({ estimateUsd: 0.7, limits }, name))
      const claimed = await start()
      expect((await moneyOf(store)).running, name).toBe(0.7 * USD)
      await end(claimed)
      expect((await moneyOf(store)).running, name).toBe(0)
    }
  })
})

it('a call outside of any job counts in the day in which it was booked', async () => {
  const store = await openTestStore()
  const days: number[] = []
  const bookCall = createCallBooks({
    rootOf: () => store.root,
    scripts: {
      run: (name, root, args) => {
        // It ends on the next day.
        if (args[2] !== '') days.push(Number(args[3]))
        return store.scripts.run(
          name,
          root,
          args[2] === '' ? args : [...args.slice(0, 3), Number(args[3]) - 1],
        )
      },
    },
  })
  const booked = await bookCall(TENANT, { dailyUsd: 10, windows: [], operationsUrl: null }, 5)
  if (booked.kind !== 'booked') throw new Error(booked.kind)
  const [key] = await keysOf(store.redis, `${store.root}:money:spent:*`)
  const today = Number(key!.split(':').at(-1))
  const yesterday = `${store.root}:money:spent:${today - 1}`
  await store.redis.rename(key!, yesterday)
  await store.redis.set(key!, 3 * USD)
  await booked.settle(0.1)
  expect(days).toEqual([today])
  expect([await store.redis.get(yesterday), await store.redis.get(key!)]).toEqual([
    `${0.1 * USD}`,
    `${3 * USD}`,
  ])
})

it('the reservation of a job is free again when it joins the call of another', async () => {
  const store = await openTestStore()
  const { id } = await submit(store, { estimateUsd: 0.7, delayMs: 300 })
  await submit(store, { estimateUsd: 0.7 })
  await store.start()
  expect((await moneyOf(store)).reserved).toBe(1.4 * USD)
  keepMaintained(store)
  const due = await store.fetch()
  expect(due.id).toBe(id)
  expect(await store.work.start([due], intent)).toEqual([{ kind: 'done' }])
  expect(await read(store, id)).toMatchObject({ status: 'queued', cache: 'shared' })
  expect((await moneyOf(store)).reserved).toBe(0.7 * USD)
})
