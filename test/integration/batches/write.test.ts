import { expect, it } from 'vitest'
import { describeLineFailure, showLineResult } from '../../../api/batches/lines.ts'
import { createBlockWriter } from '../../../batches/runner/write.ts'
import { keysOf } from '../../helpers/redis.ts'
import { complete, fail, submit, TENANT } from '../../helpers/store.ts'
import { chatLine, jsonl, openBatchShop } from './fixture.ts'

it('a block is not written while one of its jobs runs again, and is once that has ended', async () => {
  const shop = await openBatchShop()
  const { store, files } = shop
  const batch = await shop.createBatch(jsonl([chatLine('a', 'one')]))
  const jobs = [await submit(store, {}, 'one'), await submit(store, {}, 'other')]
  await complete(store, await store.start())
  await fail(store, await store.start())
  const lines = jobs.map(({ id }, index) => ({ customId: `c${index}`, job: id }))
  const writer = createBlockWriter(
    { jobs: store.jobs, files, describeFailure: describeLineFailure, showResult: showLineResult },
    { batch, check: () => {} },
    { outputId: 'file-out', errorId: 'file-err' },
  )
  await store.jobs.retry(TENANT, jobs[1]!.id)
  expect(await writer.write(0, lines, null)).toBeNull()
  expect(await keysOf(store.redis, `${store.root}:file:file-out:*`)).toEqual([])
  await complete(store, await store.start())
  expect(await writer.write(0, lines, null)).toMatchObject({ completed: 2, failed: 0 })
})
