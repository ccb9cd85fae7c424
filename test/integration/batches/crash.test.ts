import { expect, it } from 'vitest'
import { LeaseLostError } from '../../../batches/work.ts'
import { TENANT, until } from '../../helpers/store.ts'
import { type BatchShop, batchEnded, chatLine, customIds, jsonl, openBatchShop } from './fixture.ts'

/** Two blocks. */
const LINES = 260
/** What a dead runner costs its batch, ms. */
const LEASE_MS = 600
/** Scenarios that run at the same time. */
const AT_ONCE = 6

/** A step of a runner: the nth call of a method, and whether the call was still made. */
type Death = { method: string; occurrence: number; when: 'before' | 'after' }

/** A runner's life that ends at a step; afterwards it does nothing any more. */
function createLife(death: Death | null) {
  const life = { calls: new Map<string, number>(), isOver: false, ended: Promise.withResolvers<void>() }
  const die = () => {
    life.isOver = true
    life.ended.resolve()
    return new LeaseLostError()
  }
  function bind<Target extends object>(target: Target): Target {
    return new Proxy(target, {
      get(from, name: string, receiver) {
        const value = Reflect.get(from, name, receiver)
        if (typeof value !== 'function' || name === 'newId') return value
        return async (...args: unknown[]) => {
          if (life.isOver) throw new LeaseLostError()
          const occurrence = (life.calls.get(name) ?? 0) + 1
          life.calls.set(name, occurrence)
          const isLast = death?.method === name && death.occurrence === occurrence
          if (isLast && death.when === 'before') throw die()
          const answer = await value.apply(from, args)
          if (isLast) throw die()
          if (life.isOver) throw new LeaseLostError()
          return answer
        }
      },
    })
  }
  return { life, bind }
}

/** Runs a batch with a runner that dies, and with another one after it; answers the calls of the first. */
async function survive(shop: BatchShop, death: Death | null, isCancelled: boolean) {
  const name = `${JSON.stringify(death)} ${isCancelled}`
  // Many equal ones, because this test is not about calls.
  const lines = Array.from({ length: LINES }, (_, index) => chatLine(`c${index}`, `${name} ${index % 8}`))
  const created = await shop.createBatch(jsonl(lines))
  const only = { active: async () => [created.id] }
  const { life, bind } = createLife(death)
  const first = shop.startRunner({
    work: bind({ ...shop.work, ...only }),
    files: bind(shop.files),
    jobs: bind(shop.store.jobs),
    tenants: async () => (life.isOver ? [] : [TENANT]),
    onError() {},
  })
  if (isCancelled) {
    const held = { tenant: TENANT, id: created.id, token: '' }
    await until(async () => life.isOver || (await shop.work.load(held))?.layout != null)
    await shop.batches.cancel(TENANT, created.id)
  }
  const ended = batchEnded(shop, created, 60_000)
  await Promise.race([life.ended.promise, ended])
  await first.stop()
  if (life.isOver) {
    // It takes the batch over when the lease of the dead one ends by itself.
    const second = shop.startRunner({ work: { ...shop.work, ...only }, tenants: async () => [TENANT] })
    await ended.finally(() => second.stop())
  }
  const { batch, output, errors } = await ended
  const ids = [...customIds(output), ...customIds(errors)]
  // The lines of a batch that was cancelled before its validation are unknown.
  expect(ids, name).toHaveLength(batch.total)
  expect(new Set(ids).size, name).toBe(batch.total)
  if (batch.total === 0) expect(batch.status, name).toBe('cancelled')
  expect(batch.tally, name).toMatchObject({ completed: output.length, failed: errors.length })
  const group = await shop.store.jobs.group(TENANT, created.id)
  // A job with an answer was not lost, though its runner died before it could record the job.
  expect(group?.counts.completed ?? 0, name).toBe(output.length)
  expect(await shop.store.jobs.countOpen(TENANT, created.id), name).toBe(0)
  if (!isCancelled) {
    expect(batch.status, name).toBe('completed')
    expect(output, name).toHaveLength(LINES)
    // No job twice, under any name.
    expect(group, name).toMatchObject({ total: LINES, counts: { completed: LINES } })
  }
  return life.calls
}

/** Every step of a whole life: the first and the last of each kind. */
async function surviveAll(isCancelled: boolean): Promise<void> {
  const shop = await openBatchShop({ limits: '{ max_concurrency: 256 }', leaseMs: LEASE_MS })
  await shop.workshopWork()
  const calls = await survive(shop, null, isCancelled)
  const deaths = [...calls].flatMap(([method, count]) =>
    [...new Set([1, count])]
      .filter((occurrence) => occurrence <= count)
      .flatMap((occurrence) => (['before', 'after'] as const).map((when) => ({ method, occurrence, when }))),
  )
  expect(deaths.length).toBeGreaterThan(30)
  const next = deaths.values()
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (const death of next) await survive(shop, death, isCancelled)
    }),
  )
}

it('a runner that dies at any of its steps loses no line and repeats none', () => surviveAll(false), 120_000)

it(
  'a runner that dies while a batch is cancelled loses no line and repeats none',
  () => surviveAll(true),
  120_000,
)
