import { expect, it } from 'vitest'
import { TENANT, until } from '../../helpers/store.ts'
import { batchEnded, chatLine, jsonl, openBatchShop } from './fixture.ts'

const LEASE_MS = 600

it('a batch that outlasts its lease many times stays with the runner that has it', async () => {
  const shop = await openBatchShop({ leaseMs: LEASE_MS, simulator: { latencyMs: 4 * LEASE_MS } })
  await shop.workshopWork()
  const created = await shop.createBatch(jsonl([chatLine('a', 'slow')]))
  const claims: string[] = []
  const startRunner = (name: string) =>
    shop.startRunner({
      work: {
        ...shop.work,
        async claim(...args) {
          const held = await shop.work.claim(...args)
          if (held !== null) claims.push(name)
          return held
        },
      },
    })
  startRunner('first')
  await until(() => claims.length > 0)
  startRunner('second')
  const { batch, output } = await batchEnded(shop, created)
  expect(batch.status).toBe('completed')
  expect(output).toHaveLength(1)
  expect(claims).toEqual(['first'])
})

it('a runner that cannot renew stops before its lease ends, and another goes on', async () => {
  const shop = await openBatchShop({ leaseMs: LEASE_MS, simulator: { latencyMs: 2 * LEASE_MS } })
  await shop.workshopWork()
  const created = await shop.createBatch(jsonl([chatLine('a', 'slow')]))
  let endsAt = 0
  let actedAt = 0
  const act =
    <Args extends unknown[], Answer>(method: (...args: Args) => Promise<Answer>) =>
    async (...args: Args) => {
      actedAt = performance.now()
      return method(...args)
    }
  const first = shop.startRunner({
    work: {
      ...shop.work,
      async claim(...args) {
        const held = endsAt === 0 ? await shop.work.claim(...args) : null
        if (held !== null) endsAt = performance.now() + LEASE_MS
        return held
      },
      renew: async () => {
        throw new Error('Command timed out')
      },
      tally: act(shop.work.tally),
      open: act(shop.work.open),
      finish: act(shop.work.finish),
    },
    onError() {},
  })
  await until(() => endsAt > 0)
  shop.startRunner()
  const { batch, output } = await batchEnded(shop, created)
  expect(batch.status).toBe('completed')
  expect(output).toHaveLength(1)
  expect(actedAt).toBeLessThan(endsAt)
  expect((await shop.store.jobs.group(TENANT, created.id))?.total).toBe(1)
  await first.stop()
})
