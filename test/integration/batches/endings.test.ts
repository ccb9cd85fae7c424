import { expect, it } from 'vitest'
import type { Batch } from '../../../batches/batch.ts'
import { newJob, submit, TENANT, until } from '../../helpers/store.ts'
import {
  type BatchShop,
  batchEnded,
  chatLine,
  customIds,
  jsonl,
  openBatchShop,
  type ResultLine,
} from './fixture.ts'

const slow = { simulator: { latencyMs: 100 }, limits: '{ max_concurrency: 4 }' }
const lines = (count: number) =>
  Array.from({ length: count }, (_, index) => chatLine(`c${index}`, `t ${index}`))
const openOf = (shop: BatchShop, batch: Batch) => shop.store.jobs.countOpen(TENANT, batch.id)

function expectEachOnce(count: number, batch: Batch, output: ResultLine[], errors: ResultLine[]) {
  const ids = [...customIds(output), ...customIds(errors)]
  expect(new Set(ids).size).toBe(count)
  expect(ids).toHaveLength(count)
  expect(batch.tally).toMatchObject({ completed: output.length, failed: errors.length })
  expect(batch.total).toBe(count)
}

it('a cancelled batch ends with the results it has, and reports the other lines as cancelled', async () => {
  const shop = await openBatchShop({ ...slow, tenant: { max_queued: 60 } })
  await shop.workshopWork()
  shop.startRunner()
  const created = await shop.createBatch(jsonl(lines(700)))
  await until(async () => ((await shop.store.jobs.group(TENANT, created.id))?.counts.completed ?? 0) >= 5)
  const cancelled = await shop.batches.cancel(TENANT, created.id)
  expect(cancelled).toMatchObject({ kind: 'cancelling', batch: { status: 'cancelling' } })
  expect(await shop.batches.cancel(TENANT, created.id)).toMatchObject({ kind: 'cancelling' })
  const { batch, output, errors } = await batchEnded(shop, created)

  expect(batch.status).toBe('cancelled')
  expect(batch.times.cancelled_at).toBeGreaterThanOrEqual(batch.times.cancelling_at!)
  expectEachOnce(700, batch, output, errors)
  expect(output.length).toBeGreaterThanOrEqual(5)
  expect(new Set(errors.map((line) => line.error?.code))).toEqual(new Set(['batch_cancelled']))
  expect(await openOf(shop, created)).toBe(0)
  // No job was submitted beyond those that were open then.
  expect((await shop.store.jobs.group(TENANT, created.id))!.total).toBeLessThan(120)
  expect(await shop.batches.cancel(TENANT, created.id)).toMatchObject({ kind: 'late' })
  expect(shop.errors).toEqual([])
})

it('a batch that is cancelled before any worker looked at it ends without files', async () => {
  const shop = await openBatchShop()
  const created = await shop.createBatch(jsonl(lines(3)))
  await shop.batches.cancel(TENANT, created.id)
  shop.startRunner()
  const { batch } = await batchEnded(shop, created)
  expect(batch).toMatchObject({ status: 'cancelled', total: 0, outputFileId: null, errorFileId: null })
})

it('a batch whose window is over ends as expired, with the results it has', async () => {
  const shop = await openBatchShop({ ...slow, tenant: { max_queued: 60 } })
  await shop.workshopWork()
  shop.startRunner()
  const created = await shop.createBatch(jsonl(lines(600)), { windowMs: 1500 })
  const { batch, output, errors } = await batchEnded(shop, created)
  expect(batch.status).toBe('expired')
  expect(batch.times.expired_at).toBeGreaterThanOrEqual(batch.expiresAt)
  expectEachOnce(600, batch, output, errors)
  expect(output.length).toBeGreaterThan(0)
  expect(new Set(errors.map((line) => line.error?.code))).toEqual(new Set(['batch_expired']))
  expect(await openOf(shop, created)).toBe(0)
})

it('a batch that expired while no worker ran is not begun', async () => {
  const shop = await openBatchShop()
  const created = await shop.createBatch(jsonl(lines(3)), { windowMs: 1 })
  await new Promise((resolve) => setTimeout(resolve, 5))
  shop.startRunner()
  const { batch } = await batchEnded(shop, created)
  expect(batch).toMatchObject({ status: 'expired', outputFileId: null, errorFileId: null })
})

it('keeps to half of what its tenant may have open, so that other jobs find room', async () => {
  const shop = await openBatchShop({ simulator: { latencyMs: 5 }, tenant: { max_queued: 20 } })
  shop.startRunner()
  const created = await shop.createBatch(jsonl(lines(300)))
  await until(async () => (await openOf(shop, created)) === 10)
  await submit(shop.store, { limits: { ...newJob().limits, maxQueued: 20 } }, 'something else')
  const most: number[] = []
  const watcher = setInterval(async () => most.push(await openOf(shop, created)), 10)
  await shop.workshopWork()
  const { batch, output } = await batchEnded(shop, created)
  clearInterval(watcher)
  expect(batch).toMatchObject({ status: 'completed', tally: { completed: 300, failed: 0 } })
  expect(output).toHaveLength(300)
  expect(Math.max(...most)).toBeLessThanOrEqual(10)
})

it('waits where its tenant has no room, and goes on when there is some', async () => {
  const shop = await openBatchShop({ tenant: { max_queued: 4 } })
  const others = await Promise.all(
    [1, 2, 3, 4].map((n) => submit(shop.store, {}, `other ${n}`).then(({ id }) => id)),
  )
  shop.startRunner()
  const created = await shop.createBatch(jsonl(lines(9)))
  await until(async () => (await shop.batches.get(TENANT, created.id))?.status === 'in_progress')
  await new Promise((resolve) => setTimeout(resolve, 300))
  expect(await openOf(shop, created)).toBe(0)
  for (const id of others) await shop.store.jobs.cancel(TENANT, id)
  await shop.workshopWork()
  const { batch } = await batchEnded(shop, created)
  expect(batch.tally).toMatchObject({ completed: 9, failed: 0 })
})

it('counts a job that was deleted or cancelled as failed, by its own code', async () => {
  const shop = await openBatchShop()
  shop.startRunner()
  const created = await shop.createBatch(jsonl(lines(3)))
  await until(async () => (await openOf(shop, created)) === 3)
  const jobs = (await shop.store.jobs.list(TENANT, { group: created.id }, 10)).data
  const jobOf = (customId: string) => jobs.find((job) => job.metadata.custom_id === customId)!.id
  await shop.store.jobs.remove(TENANT, jobOf('c0'))
  await shop.store.jobs.cancel(TENANT, jobOf('c1'))
  await shop.workshopWork()
  const { batch, output, errors } = await batchEnded(shop, created)
  expect(batch).toMatchObject({ status: 'completed', tally: { completed: 1, failed: 2 } })
  expect(customIds(output)).toEqual(['c2'])
  expect(errors.map(({ custom_id, error }) => [custom_id, error?.code])).toEqual([
    ['c0', 'job_deleted'],
    ['c1', 'job_cancelled'],
  ])
})

it('fails when its input is deleted, with the results of what was submitted by then', async () => {
  const shop = await openBatchShop({ tenant: { max_queued: 20 } })
  shop.startRunner()
  // Two megabytes: what was not read by then is gone. One call is under way when the runner notices that.
  const text = 'x'.repeat(7000)
  const slow = '[[fault:slow:ms=3000]]'
  const created = await shop.createBatch(
    jsonl(
      Array.from({ length: 300 }, (_, index) =>
        chatLine(`c${index}`, `${text}${index === 0 ? slow : index}`),
      ),
    ),
  )
  await until(async () => (await openOf(shop, created)) === 10)
  await shop.files.remove(TENANT, created.inputFileId)
  await shop.workshopWork()
  const { batch, output, errors } = await batchEnded(shop, created)
  expect(batch.status).toBe('failed')
  expect(batch.errors).toMatchObject([{ code: 'input_file_not_found' }])
  const made = (await shop.store.jobs.group(TENANT, created.id))!.total
  expect(made).toBeGreaterThanOrEqual(10)
  expect(made).toBeLessThan(300)
  expect(output).toHaveLength(made)
  expect(errors.length).toBeLessThan(300 - made)
  expect(batch.tally).toMatchObject({ completed: made, failed: 300 - made })
})

it('is not visible to other tenants', async () => {
  const shop = await openBatchShop()
  await shop.workshopWork()
  shop.startRunner()
  const [own, foreign] = await Promise.all([
    shop.createBatch(jsonl(lines(2))),
    shop.createBatch(jsonl(lines(2)), {}, 'other'),
  ])
  await Promise.all([batchEnded(shop, own), batchEnded(shop, foreign)])
  expect(await shop.batches.get(TENANT, foreign.id)).toBeNull()
  expect(await shop.batches.cancel(TENANT, foreign.id)).toBeNull()
  const ids = async (tenant: string) =>
    (await shop.batches.list(tenant, { limit: 10, after: null })).batches.map(({ id }) => id)
  expect(await ids(TENANT)).toEqual([own.id])
  expect(await ids('other')).toEqual([foreign.id])
})
