import { randomBytes } from 'node:crypto'
import { chmod, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Files, type NewFile, StorageFullError } from '../../../files/files.ts'
import { createFolderStore } from '../../../files/folder-store.ts'
import { FileStoreError, type ObjectStore } from '../../../files/object-store.ts'
import type { ObjectStores } from '../../../files/objects.ts'
import { PART_BYTES } from '../../../files/parts.ts'
import { createS3Store } from '../../../files/s3-store.ts'
import { createFileStore } from '../../../files/store.ts'
import { createIds } from '../../../lib/job-id.ts'
import { createRedis, type RedisClient } from '../../../lib/redis.ts'
import { s3Key, startTestS3, type TestS3 } from '../../clients/s3-server.ts'
import { testKeys, testSealer } from '../../helpers/encryption.ts'
import { keysOf, type TestPlace, testRedis } from '../../helpers/redis.ts'
import { RUN_VARIABLE } from '../../helpers/run-processes.ts'

const file: NewFile = { filename: 'input.jsonl', purpose: 'batch', expiresAt: null }
const HOUR = 3_600_000
const STORE_ID = 'store-1'

type Kind = 'redis' | 'folder' | 's3'
const outside = ['folder', 's3'] as const

let place: TestPlace
let redis: RedisClient
let s3: TestS3
let folder: string
let bucket: ReturnType<typeof createS3Store>
let plainFolder: ObjectStore

beforeAll(async () => {
  place = testRedis()
  redis = createRedis({ ...place, role: 'commands', name: 'test-files', onError: () => {} })
  s3 = await startTestS3()
  folder = await mkdtemp(join(process.env[RUN_VARIABLE] ?? tmpdir(), 'files-'))
  bucket = createS3Store(
    { bucket: s3.bucket, endpoint: s3.url, region: 'us-east-1', prefix: 'in/a.prefix', ...s3Key },
    { proxy: null, now: Date.now },
  )
  plainFolder = createFolderStore({ folder })
})

afterAll(async () => {
  redis.disconnect()
  await bucket.close()
  await s3.close()
  await rm(folder, { recursive: true, force: true })
})

let tenants = 0

/** A file store over the shared Redis, and a tenant that no other test uses. */
function open(
  kind: Kind,
  options: { keys?: string[]; most?: number; stores?: Partial<ObjectStores['stores']>; tenant?: string } = {},
) {
  const tenant = options.tenant ?? `tenant-${++tenants}`
  const root = (name: string) => `${place.prefix}:{t:${name}}`
  const clock = { now: Date.now() - 60_000 }
  const now = () => clock.now
  const store = createFileStore({
    ...{ redis, root, now, newId: createIds('file-', now) },
    maxBytes: () => options.most ?? Number.MAX_SAFE_INTEGER,
    sealer: testSealer(options.keys),
    objects: {
      current: kind === 'redis' ? null : kind,
      stores: { folder: plainFolder, s3: bucket, ...options.stores },
      storeId: async () => STORE_ID,
    },
  })
  return {
    ...{ tenant, store, clock },
    key: (name: string) => `${root(tenant)}:${name}`,
    keys: async () =>
      (await keysOf(redis, `${root(tenant)}:*`)).filter((name) => !/:gone$|:bytes$/.test(name)),
    upload: (content: Buffer | string, members: Partial<NewFile> = {}) =>
      store.create(tenant, { ...file, ...members }, inChunks(Buffer.from(content))),
    /** The tenant's objects outside of Redis, incomplete ones too. */
    objects: () => listObjects(tenant),
  }
}

async function* inChunks(content: Buffer, size = 60_000) {
  for (let at = 0; at < content.length; at += size) yield content.subarray(at, at + size)
}

async function readAll(store: Files, tenant: string, id: string, from?: number): Promise<Buffer | null> {
  const content = await store.read(tenant, id, from)
  if (content === null) return null
  const parts: Uint8Array[] = []
  for await (const part of content) parts.push(Buffer.from(part))
  return Buffer.concat(parts)
}

async function listObjects(tenant: string): Promise<string[]> {
  const found: string[] = []
  for (const store of [plainFolder, bucket]) {
    for await (const block of store.list(`${STORE_ID}/${tenant}`))
      found.push(...block.map(({ name }) => name))
  }
  return found
}

/** Fails in the middle of the content, after so many parts. */
async function* cutOff(parts: number) {
  for (let part = 0; part < parts; part++) yield randomBytes(PART_BYTES)
  throw new Error('the client went away')
}

describe.each(['redis', ...outside] as const)('files in %s', (kind) => {
  it('are read back byte for byte, from any byte on, and every key expires', async () => {
    const { store, tenant, upload, objects, keys } = open(kind, { keys: [testKeys[0]] })
    // More than one request to S3, and more than one window to read.
    const content = randomBytes(9 * PART_BYTES + 12_345)
    const created = await upload(content)
    expect(created).toMatchObject({ ...file, tenant, bytes: content.length })
    expect(await store.get(tenant, created.id)).toEqual(created)
    for (const from of [undefined, 1, PART_BYTES - 1, 3 * PART_BYTES, content.length - 1, content.length]) {
      const read = await readAll(store, tenant, created.id, from)
      expect(content.subarray(from ?? 0).equals(read!), `from ${from}`).toBe(true)
    }
    expect(await objects()).toHaveLength(kind === 'redis' ? 0 : 1)
    expect(await store.remove(tenant, created.id)).toBe(true)
    expect(await store.read(tenant, created.id)).toBeNull()
    expect(await objects()).toEqual([])
    expect(await keys()).toEqual([])
  })

  it('of one byte and of none are read back', async () => {
    const { store, tenant, upload } = open(kind)
    const one = await upload('x')
    expect((await readAll(store, tenant, one.id))?.toString()).toBe('x')
    const none = await store.seal(tenant, store.newId(), file, 7)
    expect(none.bytes).toBe(0)
    expect(await readAll(store, tenant, none.id)).toEqual(Buffer.alloc(0))
    expect(await store.remove(tenant, none.id)).toBe(true)
  })

  it('whose upload fails leave nothing behind, early or late', async () => {
    const { store, tenant, objects, keys } = open(kind)
    for (const parts of [0, 1, 10]) {
      await expect(store.create(tenant, file, cutOff(parts))).rejects.toThrow('the client went away')
    }
    const refuse = () => {
      throw new Error('no such purpose')
    }
    await expect(store.create(tenant, refuse, inChunks(Buffer.from('abc')))).rejects.toThrow(
      'no such purpose',
    )
    expect(await objects()).toEqual([])
    expect(await s3.uploads()).toEqual([])
    expect(await keys()).toEqual([])
  })

  it('may have so many bytes together, also when two come at once', async () => {
    const { upload, objects, store, tenant } = open(kind, { most: 10 })
    const outcomes = await Promise.allSettled([upload('123456'), upload('123456')])
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    await expect(upload('12345')).rejects.toThrow(StorageFullError)
    await upload('1234')
    expect(await objects()).toHaveLength(kind === 'redis' ? 0 : 2)
    const page = await store.list(tenant, { limit: 9, after: null, purpose: null, order: 'asc' })
    expect(page.files.map(({ bytes }) => bytes)).toEqual([6, 4])
  })

  it('written part by part are put together in order, once, however many callers seal them', async () => {
    const { store, tenant, objects, keys } = open(kind)
    const id = store.newId()
    await store.writePart(tenant, id, 12, Buffer.from('c'))
    await store.writePart(tenant, id, 0, Buffer.from('an old text'))
    await store.writePart(tenant, id, 3, Buffer.alloc(PART_BYTES + 5, 'b'))
    await store.writePart(tenant, id, 0, Buffer.from('a'))
    await store.writePart(tenant, id, 20, Buffer.from('beyond'))
    const sealed = await Promise.all(Array.from({ length: 4 }, () => store.seal(tenant, id, file, 20)))
    for (const other of sealed) expect(other).toEqual(sealed[0])
    expect(await store.seal(tenant, id, { ...file, filename: 'another' }, 1)).toEqual(sealed[0])
    await store.writePart(tenant, id, 0, Buffer.from('late'))
    expect((await readAll(store, tenant, id))?.toString()).toBe(`a${'b'.repeat(PART_BYTES + 5)}c`)
    expect(await objects()).toHaveLength(kind === 'redis' ? 0 : 1)
    await store.remove(tenant, id)
    expect([await objects(), await keys()]).toEqual([[], []])
  })

  it('stored whole are one file, however often, without their bytes in Redis where a store takes them', async () => {
    const { store, tenant, objects, key, keys } = open(kind, { keys: [testKeys[0]] })
    const content = randomBytes(2 * PART_BYTES + 7)
    const id = store.newId()
    const stored = await Promise.all([1, 2].map(() => store.put(tenant, id, file, content)))
    expect(stored[0]).toMatchObject({ id, ...file, bytes: content.length })
    expect(stored[1]).toEqual(stored[0])
    expect((await readAll(store, tenant, id))!.equals(content)).toBe(true)
    expect(await objects()).toHaveLength(kind === 'redis' ? 0 : 1)
    expect((await keys()).filter((name) => /:[0-9]+$/.test(name))).toHaveLength(kind === 'redis' ? 3 : 0)
    expect(await redis.exists(key('files:writing'), key('files:deleting'))).toBe(0)
    const none = await store.put(tenant, store.newId(), file, Buffer.alloc(0))
    expect(await readAll(store, tenant, none.id)).toEqual(Buffer.alloc(0))
    for (const one of [id, none.id]) await store.remove(tenant, one)
    expect([await objects(), await keys()]).toEqual([[], []])
  })

  it('that are staged are read part by part, belong to nothing, and are discarded', async () => {
    const { store, tenant, keys } = open(kind, { keys: [testKeys[0]] })
    const id = store.newId()
    const piece = randomBytes(100_000)
    await store.writePart(tenant, id, 3, piece, HOUR)
    expect(Buffer.from((await store.readPart(tenant, id, 3))!).equals(piece)).toBe(true)
    expect(await store.readPart(tenant, id, 2)).toBeNull()
    expect(await store.readPart(tenant, `${id}:x`, 3)).toBeNull()
    expect(await store.read(tenant, id)).toBeNull()
    for (const name of await keys()) {
      const left = await redis.pttl(name)
      expect([left > 0, left <= HOUR]).toEqual([true, true])
    }
    await store.discard(tenant, id)
    expect([await store.readPart(tenant, id, 3), await keys()]).toEqual([null, []])
  })

  it('expire, and the sweeper deletes them in every place', async () => {
    const { store, tenant, upload, clock, objects, keys } = open(kind)
    const { id } = await upload('abc', { expiresAt: clock.now + HOUR })
    clock.now += HOUR
    expect(await store.read(tenant, id)).toBeNull()
    expect(await store.sweep(tenant)).toBe(1)
    expect([await objects(), await keys()]).toEqual([[], []])
  })

  it('of another tenant do not exist, and odd ids name nothing', async () => {
    const { store, tenant, upload } = open(kind)
    const { id } = await upload('abc')
    expect(await store.read('nobody', id)).toBeNull()
    expect(await store.remove('nobody', id)).toBe(false)
    for (const odd of [`${id}.0`, `../${tenant}/${id}`, 'file-../x', 'file-%2e%2e', `${id}:0`, `${id}\0`]) {
      expect(await store.read(tenant, odd)).toBeNull()
      expect(await store.remove(tenant, odd)).toBe(false)
    }
    expect((await readAll(store, tenant, id))?.toString()).toBe('abc')
  })
})

describe.each(outside)('files outside of Redis, in %s', (kind) => {
  const store = () => (kind === 's3' ? bucket : plainFolder)
  /** The store, but the methods in `broken` fail as if it were unavailable. */
  const breaking = (broken: Set<keyof ObjectStore>): ObjectStore => {
    const check = (name: keyof ObjectStore) => {
      if (broken.has(name)) throw new FileStoreError(kind, 'away', 'it does not answer')
    }
    return {
      ...store(),
      async write(...args) {
        check('write')
        return store().write(...args)
      },
      async read(...args) {
        check('read')
        return store().read(...args)
      },
      async remove(...args) {
        check('remove')
        return store().remove(...args)
      },
    }
  }

  it('are deleted when their store is back, and are gone for the client at once', async () => {
    const broken = new Set<keyof ObjectStore>()
    const {
      store: files,
      tenant,
      upload,
      clock,
      objects,
      keys,
    } = open(kind, {
      stores: { [kind]: breaking(broken) },
    })
    const { id } = await upload('abc')
    broken.add('remove')
    expect(await files.remove(tenant, id)).toBe(true)
    expect(await files.get(tenant, id)).toBeNull()
    clock.now += HOUR
    await expect(files.sweep(tenant)).rejects.toThrow('does not answer')
    expect(await objects()).toHaveLength(1)
    broken.clear()
    clock.now += HOUR
    await files.sweep(tenant)
    expect([await objects(), await keys()]).toEqual([[], []])
  })

  it('that a crash left half or whole, unknown to any file, are deleted an hour later', async () => {
    const { store: files, tenant, clock, objects, keys, key } = open(kind)
    const object = 'file-0.0123456789abcdef'
    // As a process leaves it that dies between two lines.
    await store().write(`${STORE_ID}/${tenant}/${object}`, inChunks(Buffer.from('never sealed')))
    await redis.zadd(key('files:writing'), clock.now + HOUR, `${kind}:${object}`)
    await files.sweep(tenant)
    expect(await objects()).toHaveLength(1)
    clock.now += HOUR
    await files.sweep(tenant)
    expect([await objects(), await keys()]).toEqual([[], []])
  })

  it('are not sealed once they are given up, so that no record names what is deleted', async () => {
    const { store: files, tenant, clock, objects, keys } = open(kind)
    async function* slow() {
      yield Buffer.from('abc')
      clock.now += 2 * HOUR
      await files.sweep(tenant)
    }
    await expect(files.create(tenant, file, slow())).rejects.toThrow('given up')
    clock.now += HOUR
    await files.sweep(tenant)
    expect([await objects(), await keys()]).toEqual([[], []])
  })

  it('that Redis does not know are deleted after a day, and nothing else is', async () => {
    const { store: files, tenant, upload, clock, objects, key } = open(kind)
    const { id } = await upload('kept')
    const written = `${STORE_ID}/${tenant}/file-1.aaaa`
    await store().write(written, inChunks(Buffer.from('being written')))
    await redis.zadd(key('files:writing'), clock.now + 72 * HOUR, `${kind}:file-1.aaaa`)
    await store().write(`${STORE_ID}/${tenant}/file-2.bbbb`, inChunks(Buffer.from('an orphan')))
    await store().write(`other-store/${tenant}/file-3.cccc`, inChunks(Buffer.from('of others')))
    const signal = new AbortController().signal
    expect(await files.sweepOrphans(signal)).toBe(0)
    clock.now += 25 * HOUR
    expect(await files.sweepOrphans(signal)).toBeGreaterThanOrEqual(1)
    expect((await objects()).sort()).toHaveLength(2)
    expect((await readAll(files, tenant, id))?.toString()).toBe('kept')
    expect(await store().read(`other-store/${tenant}/file-3.cccc`, 0, 9)).toEqual(Buffer.from('of others'))
  })

  it('are encrypted part by part, and no part can take the place of another', async () => {
    const { store: files, tenant, upload, objects } = open(kind, { keys: [testKeys[0]] })
    const content = `${'a secret '.repeat(PART_BYTES / 4)}`
    const { id } = await upload(content)
    const [name] = await objects()
    const stored = (await store().read(name!, 0, 64 * 1024 * 1024))!
    expect(stored.includes('a secret')).toBe(false)
    expect((await readAll(files, tenant, id))?.toString()).toBe(content)
    const other = open(kind, { keys: [testKeys[1]], tenant })
    await expect(readAll(other.store, tenant, id)).rejects.toThrow(
      /encryption key [0-9a-f]{8} is not configured/,
    )
    // The first two parts are exchanged.
    const sizes = await redis.hgetall(`${place.prefix}:{t:${tenant}}:file:${id}:sizes`)
    const first = Number(sizes['0']!.split(' ')[1])
    const second = Number(sizes['1']!.split(' ')[1])
    const swapped = Buffer.concat([
      stored.subarray(first, first + second),
      stored.subarray(0, first),
      stored.subarray(first + second),
    ])
    await store().remove(name!)
    await store().write(name!, inChunks(swapped))
    await expect(readAll(files, tenant, id)).rejects.toThrow()
  })

  it('stored whole go into Redis when their store is away, up to 32 MiB', async () => {
    const broken = new Set<keyof ObjectStore>(['write'])
    const { store: files, tenant, objects, keys } = open(kind, { stores: { [kind]: breaking(broken) } })
    const id = files.newId()
    await files.put(tenant, id, file, Buffer.from('paid for'))
    expect((await readAll(files, tenant, id))?.toString()).toBe('paid for')
    const large = Buffer.alloc(32 * 1024 * 1024 + 1)
    await expect(files.put(tenant, files.newId(), file, large)).rejects.toThrow('does not answer')
    await files.remove(tenant, id)
    expect(await objects()).toEqual([])
    // Its announcement is given up, and is checked again.
    expect((await keys()).filter((name) => !name.endsWith(':files:deleting'))).toEqual([])
  })

  it('whose content was removed do not exist; a store that is unavailable is a different error', async () => {
    const broken = new Set<keyof ObjectStore>()
    const { store: files, tenant, upload, objects } = open(kind, { stores: { [kind]: breaking(broken) } })
    const { id } = await upload('abc')
    const { id: other } = await upload('def')
    broken.add('read')
    await expect(files.read(tenant, id)).rejects.toThrow(FileStoreError)
    broken.clear()
    const name = (await objects()).find((one) => one.includes(id))!
    await store().remove(name)
    expect(await files.read(tenant, id)).toBeNull()
    expect((await readAll(files, tenant, other))?.toString()).toBe('def')
  })

  it('that are results stay in Redis while their store is unavailable, or wait as parts if they are large', async () => {
    const broken = new Set<keyof ObjectStore>(['write'])
    const { store: files, tenant, objects, keys } = open(kind, { stores: { [kind]: breaking(broken) } })
    const small = files.newId()
    await files.writePart(tenant, small, 0, Buffer.from('a result'))
    expect(await files.seal(tenant, small, file, 1)).toMatchObject({ bytes: 8 })
    const large = files.newId()
    for (let part = 0; part < 33; part++) await files.writePart(tenant, large, part, Buffer.alloc(PART_BYTES))
    await expect(files.seal(tenant, large, file, 33)).rejects.toThrow(FileStoreError)
    expect(await files.get(tenant, large)).toBeNull()
    broken.clear()
    expect(await files.seal(tenant, large, file, 33)).toMatchObject({ id: large, bytes: 33 * PART_BYTES })
    expect(await readAll(files, tenant, large)).toHaveLength(33 * PART_BYTES)
    expect((await readAll(files, tenant, small))?.toString()).toBe('a result')
    expect(await objects()).toHaveLength(1)
    // The parts of the large one are not in Redis any more.
    expect((await keys()).filter((key) => key.endsWith(`${large}:0`))).toEqual([])
  })

  it('are read from where they are after the store was changed', async () => {
    const before = open(kind)
    const { id } = await before.upload('as before')
    for (const next of ['redis', ...outside] as const) {
      const { store: files, tenant } = open(next, { tenant: before.tenant })
      expect((await readAll(files, tenant, id))?.toString()).toBe('as before')
    }
    const without = open('redis', { tenant: before.tenant, stores: { [kind]: null } })
    await expect(without.store.read(before.tenant, id)).rejects.toThrow(
      `the files are in ${kind}, which is no longer configured`,
    )
    expect(await without.store.remove(before.tenant, id)).toBe(true)
  })
})

describe('the folder', () => {
  const inside = () => createFolderStore({ folder })

  it('never leads outside of itself, for any name of an object', async () => {
    const outsider = join(folder, '..', 'outside')
    for (const name of [
      '../outside',
      'a/../../outside',
      '/etc/passwd',
      'a/..',
      'a//b',
      '.',
      'a/.b',
      'a\\..\\b',
      'a\0b',
      '',
    ]) {
      await expect(inside().write(name, inChunks(Buffer.from('x')))).rejects.toThrow('may not be')
      await expect(inside().read(name, 0, 1)).rejects.toThrow('may not be')
      await expect(inside().remove(name)).rejects.toThrow('may not be')
    }
    await expect(readFile(outsider)).rejects.toThrow('ENOENT')
  })

  it('has an object complete or not at all; nobody reads one that is still being written', async () => {
    const name = 'half/a/object'
    async function* watched() {
      yield Buffer.from('first')
      expect(await readdir(join(folder, 'half/a'))).toEqual(['object.half'])
      expect(await inside().read(name, 0, 5)).toBeNull()
      yield Buffer.from('second')
    }
    await inside().write(name, watched())
    expect(await readdir(join(folder, 'half/a'))).toEqual(['object'])
    // A process that was killed leaves an incomplete file, which is deleted with the object's name.
    await writeFile(join(folder, 'half/a/dead.half'), 'x')
    await inside().remove('half/a/dead')
    expect(await readdir(join(folder, 'half/a'))).toEqual(['object'])
  })

  it('that has disappeared is reported as unavailable: its files do not count as deleted', async () => {
    const elsewhere = createFolderStore({ folder: join(folder, 'not-mounted') })
    await expect(elsewhere.read('store/tenant/file', 0, 1)).rejects.toMatchObject({ fault: 'missing' })
  })

  it('says why it cannot be used', async () => {
    const path = join(folder, 'a-file')
    await writeFile(path, '')
    const blocked = createFolderStore({ folder: path })
    const error = await blocked.check().catch((refusal: unknown) => refusal)
    expect(error).toBeInstanceOf(FileStoreError)
    expect(error).toMatchObject({ store: 'folder', fault: 'refused' })
    expect((error as Error).message).toBe(
      `the folder of files ${path} (files.folder): there is a file of this name`,
    )
    await expect(blocked.write('a/b', inChunks(Buffer.from('x')))).rejects.toThrow('files.folder')
  })

  it.skipIf(process.getuid?.() === 0)('that is read-only is reported by a name of its own', async () => {
    const path = await mkdtemp(join(folder, 'readonly-'))
    await chmod(path, 0o500)
    await expect(createFolderStore({ folder: path }).check()).rejects.toMatchObject({ fault: 'refused' })
  })

  it('is read with its times: a new object is not an orphan', async () => {
    const name = 'times/a/object'
    await inside().write(name, inChunks(Buffer.from('x')))
    await utimes(join(folder, name), 1, 1)
    for await (const block of inside().list('times')) expect(block).toEqual([{ name, modifiedAt: 1000 }])
  })
})

describe('S3', () => {
  const content = (bytes: number) => inChunks(randomBytes(bytes))

  it('gets a small object in one request and a large one in parts of 8 MiB', async () => {
    s3.requests.length = 0
    await bucket.write('s/t/small', content(5))
    await bucket.write('s/t/exact', content(8 * 1024 * 1024))
    expect(s3.requests).toEqual(['small', 'exact'].map((name) => `PUT /${s3.bucket}/in/a.prefix/s/t/${name}`))
    s3.requests.length = 0
    await bucket.write('s/t/large', content(8 * 1024 * 1024 + 1))
    const path = `/${s3.bucket}/in/a.prefix/s/t/large`
    expect(s3.requests).toEqual([
      `POST ${path}?uploads`,
      ...[1, 2].map(() => `PUT ${path}?partNumber&uploadId`),
      `POST ${path}?uploadId`,
    ])
  })

  it('gets a request again if that may help, and an upload that fails is aborted', async () => {
    s3.fail((request) => request.includes('partNumber'), 503)
    await bucket.write('s/t/again', content(9 * 1024 * 1024))
    expect((await bucket.read('s/t/again', 8 * 1024 * 1024, 5))?.length).toBe(5)
    s3.fail((request) => request.includes('partNumber'), 403)
    await expect(bucket.write('s/t/refused', content(9 * 1024 * 1024))).rejects.toMatchObject({
      fault: 'refused',
    })
    expect(await s3.uploads()).toEqual([])
    expect(await bucket.read('s/t/refused', 0, 5)).toBeNull()
  })

  it('loses uploads that a dead process left, found by the name of the object', async () => {
    s3.fail((request) => request.startsWith('DELETE'), 403)
    s3.fail((request) => request.includes('partNumber'), 403)
    await expect(bucket.write('s/t/left', content(9 * 1024 * 1024))).rejects.toThrow()
    expect(await s3.uploads()).toHaveLength(1)
    await bucket.remove('s/t/left-not')
    expect(await s3.uploads()).toHaveLength(1)
    await bucket.remove('s/t/left')
    expect(await s3.uploads()).toEqual([])
  })

  it('that goes on saying 200 and then an error has not stored the object', async () => {
    s3.fail((request) => request.startsWith('POST') && request.endsWith('?uploadId'), 200, 3)
    await expect(bucket.write('s/t/odd', content(9 * 1024 * 1024))).rejects.toMatchObject({ fault: 'away' })
  })

  it.each([
    ['a key that it does not know', { access_key_id: 'somebody' }, 'refused'],
    ['a secret that is another', { secret_access_key: 'guessed' }, 'refused'],
    ['a bucket that does not exist', { bucket: 'no-such-bucket' }, 'missing'],
    ['an address where nobody is', { endpoint: 'http://127.0.0.1:9' }, 'away'],
  ] as const)('reports %s', async (_, settings, fault) => {
    const store = createS3Store(
      { bucket: s3.bucket, endpoint: s3.url, region: 'us-east-1', prefix: '', ...s3Key, ...settings },
      { proxy: null, now: Date.now },
    )
    try {
      for (const asked of [
        () => store.check(),
        () => store.write('a/b', inChunks(Buffer.from('x'))),
        () => store.read('a/b', 0, 1),
        () => store.remove('a/b'),
      ]) {
        await expect(asked()).rejects.toMatchObject({ name: 'FileStoreError', store: 's3', fault })
      }
    } finally {
      await store.close()
    }
  })
})
