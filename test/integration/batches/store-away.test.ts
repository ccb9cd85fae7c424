import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { createFolderStore } from '../../../files/folder-store.ts'
import { FileStoreError, type ObjectStore } from '../../../files/object-store.ts'
import { TENANT } from '../../helpers/store.ts'
import { batchEnded, chatLine, customIds, jsonl, openBatchShop } from './fixture.ts'

it('goes on when the store of its files is back, with each line answered once', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-away-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const store = createFolderStore({ folder })
  /** The operations that it refuses, and how often it did. */
  const away = { read: false, write: false }
  const refused = { read: 0, write: 0 }
  const refuse = (operation: 'read' | 'write') => {
    if (!away[operation]) return
    refused[operation]++
    throw new FileStoreError('folder', 'away', 'it does not answer')
  }
  const passing: ObjectStore = {
    ...store,
    async read(...args) {
      refuse('read')
      const found = await store.read(...args)
      // The input was validated; it cannot be read again to submit its lines.
      away.read = refused.read === 0
      return found
    },
    async write(...args) {
      refuse('write')
      await store.write(...args)
      // The input is there; its results cannot be written when all lines have ended.
      away.write = refused.write === 0
    },
  }
  const shop = await openBatchShop({
    objects: {
      current: 'folder',
      stores: { folder: passing, s3: null },
      storeId: async () => 'store-1',
    },
  })
  await shop.workshopWork()
  const lines = Array.from({ length: 30 }, (_, index) => chatLine(`c${index}`, `number ${index}`))
  const created = await shop.createBatch(jsonl(lines))
  shop.startRunner()
  await expect.poll(() => refused.read, { timeout: 10_000 }).toBe(1)
  away.read = false
  const { batch, output } = await batchEnded(shop, created)
  expect(batch).toMatchObject({ status: 'completed', tally: { completed: 30, failed: 0 } })
  expect(customIds(output)).toEqual(lines.map((line) => line.custom_id))
  expect(shop.simulator.state().billed_calls).toBe(30)
  // The input is there; the results, which are small, stayed in Redis.
  expect(refused).toEqual({ read: 1, write: 1 })
  expect(await readdir(join(folder, 'store-1', TENANT))).toHaveLength(1)
})
