import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { expect, it } from 'vitest'
import { createFileStore } from '../../../files/store.ts'
import { createSealer } from '../../../lib/sealer.ts'
import { openTestStore, TENANT } from '../../helpers/store.ts'

async function open() {
  const store = await openTestStore({ own: true })
  const openFiles = (...keys: Buffer[]) =>
    createFileStore({
      redis: store.redis,
      root: () => store.root,
      now: Date.now,
      newId: () => 'file-1',
      maxBytes: () => 1e9,
      sealer: createSealer({ keys, now: Date.now }),
      objects: null,
    })
  const key = Buffer.alloc(32, 1)
  const file = { filename: 'in.jsonl', purpose: 'batch', expiresAt: null }
  const contents = `first ${'a'.repeat(1024 * 1024 - 6)}second`
  await openFiles(key).create(TENANT, file, Readable.from([Buffer.from(contents)]))
  const read = async (...keys: Buffer[]) =>
    text(Readable.from((await openFiles(...keys).read(TENANT, 'file-1'))!))
  return { store, key, read, contents, part: (n: number) => `${store.root}:file:file-1:${n}` }
}

it('a file is encrypted part by part, and read back unchanged', async () => {
  const { store, key, read, contents, part } = await open()
  expect(await read(key)).toBe(contents)
  expect((await store.redis.getBuffer(part(1)))!.includes('second')).toBe(false)
  await expect(read(Buffer.alloc(32, 2))).rejects.toThrow(/the encryption key [0-9a-f]{8} is not configured/)
})

it('a part in the place of another is refused', async () => {
  const { store, key, read, part } = await open()
  await store.redis.set(part(1), (await store.redis.getBuffer(part(0)))!)
  await expect(read(key)).rejects.toThrow('was changed')
})
