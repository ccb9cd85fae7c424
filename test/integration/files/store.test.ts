import { randomBytes } from 'node:crypto'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type FileRecord, type Files, type NewFile, StorageFullError } from '../../../files/files.ts'
import { PART_BYTES } from '../../../files/parts.ts'
import { createFileStore } from '../../../files/store.ts'
import { createIds } from '../../../lib/job-id.ts'
import { testSealer } from '../../helpers/encryption.ts'
import { keysOf, startTestRedis } from '../../helpers/redis.ts'

const root = (tenant: string) => `test:{t:${tenant}}`
const file: NewFile = { filename: 'input.jsonl', purpose: 'batch', expiresAt: null }
/** Recent, because Redis' own clock decides which of it has expired. */
const start = Date.now() - 60_000
const hour = 3_600_000

let server: Awaited<ReturnType<typeof startTestRedis>>
let redis: Redis
let time: number
let most: number
let store: Files

beforeAll(async () => {
  server = await startTestRedis()
  redis = new Redis(server.url)
})

beforeEach(async () => {
  await redis.flushall()
  time = start
  most = Number.MAX_SAFE_INTEGER
  const now = () => time
  store = createFileStore({
    redis,
    root,
    now,
    newId: createIds('file-', now),
    maxBytes: () => most,
    sealer: testSealer(),
    objects: null,
  })
})

afterAll(async () => {
  await redis.quit()
  await server.close()
})

async function* chunksOf(content: Buffer, size = 60_000) {
  for (let at = 0; at < content.length; at += size) yield content.subarray(at, at + size)
}

async function upload(text = 'hello', members: Partial<NewFile> = {}, tenant = 'acme'): Promise<FileRecord> {
  return await store.create(tenant, { ...file, ...members }, chunksOf(Buffer.from(text)))
}

async function readAll(id: string, tenant = 'acme', from?: number): Promise<Buffer | null> {
  const content = await store.read(tenant, id, from)
  if (content === null) return null
  const parts: Uint8Array[] = []
  for await (const part of content) parts.push(Buffer.from(part))
  return Buffer.concat(parts)
}

async function listIds(query: Partial<Parameters<Files['list']>[1]> = {}, tenant = 'acme') {
  const page = await store.list(tenant, { limit: 100, after: null, purpose: null, order: 'desc', ...query })
  return { ids: page.files.map(({ id }) => id), hasMore: page.hasMore }
}

/** Keys that stay though no file is left. */
async function leftKeys(): Promise<string[]> {
  return (await keysOf(redis, '*')).filter((key) => !/:gone$|:files:bytes$/.test(key))
}

describe('an upload', () => {
  it('is read back byte for byte over several parts', async () => {
    const content = randomBytes(2 * PART_BYTES + 12_345)
    const created = await store.create('acme', file, chunksOf(content))
    expect(created).toEqual({
      ...file,
      id: created.id,
      tenant: 'acme',
      bytes: content.length,
      createdAt: start,
    })
    expect(created.id).toMatch(/^file-[0-9a-f]{32}$/)
    expect(await store.get('acme', created.id)).toEqual(created)
    expect(content.equals((await readAll(created.id))!)).toBe(true)
    const parts = [0, 1, 2].map((part) => `${root('acme')}:file:${created.id}:${part}`)
    expect(await redis.exists(...parts, `${root('acme')}:file:${created.id}:3`)).toBe(3)
  })

  it('is compressed at rest', async () => {
    const { id } = await upload('again and '.repeat(20_000))
    expect(await redis.strlen(`${root('acme')}:file:${id}:0`)).toBeLessThan(1_000)
  })

  it('may itself be a zstd frame', async () => {
    const frame = Buffer.concat([Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), randomBytes(100)])
    const { id } = await store.create('acme', file, chunksOf(frame))
    expect(frame.equals((await readAll(id))!)).toBe(true)
  })

  it('may say its type when its content is there', async () => {
    let read = false
    async function* content() {
      yield Buffer.from('abc')
      time += 500
      read = true
    }
    const describe = (createdAt: number): NewFile => {
      expect(read).toBe(true)
      return { ...file, expiresAt: createdAt + hour }
    }
    const created = await store.create('acme', describe, content())
    expect(created).toMatchObject({ createdAt: start + 500, expiresAt: start + 500 + hour })
  })

  it('that fails leaves nothing behind and throws on', async () => {
    async function* content() {
      yield randomBytes(PART_BYTES + 1)
      throw new Error('the client went away')
    }
    await expect(store.create('acme', file, content())).rejects.toThrow('the client went away')
    expect(await leftKeys()).toEqual([])
  })

  it('that is refused when it is described leaves nothing behind', async () => {
    const describe = () => {
      throw new Error('no such purpose')
    }
    await expect(store.create('acme', describe, chunksOf(Buffer.from('abc')))).rejects.toThrow(
      'no such purpose',
    )
    expect(await leftKeys()).toEqual([])
    expect((await listIds()).ids).toEqual([])
  })

  it('cut off by a crash cannot be seen, and every key of it has a time to live', async () => {
    const crashed = store.newId()
    await store.writePart('acme', crashed, 0, Buffer.from('half'))
    expect(await store.get('acme', crashed)).toBeNull()
    expect(await store.read('acme', crashed)).toBeNull()
    expect(await store.remove('acme', crashed)).toBe(false)
    expect((await listIds()).ids).toEqual([])
    const keys = await leftKeys()
    expect(keys).toHaveLength(2)
    for (const key of keys) {
      const ttl = await redis.pttl(key)
      expect(ttl).toBeGreaterThan(6 * 24 * hour)
      expect(ttl).toBeLessThanOrEqual(7 * 24 * hour)
    }
  })

  it('has its parts under a short time to live while it comes in', async () => {
    let ttl = 0
    async function* content() {
      yield Buffer.alloc(PART_BYTES)
      yield Buffer.from('more')
      const [key] = (await keysOf(redis, '*:file:*:0')) as [string]
      ttl = await redis.pttl(key)
    }
    await store.create('acme', file, content())
    expect(ttl).toBeGreaterThan(0)
    expect(ttl).toBeLessThanOrEqual(hour)
    for (const key of await leftKeys()) expect(await redis.pttl(key)).toBe(-1)
  })

  it('is refused where the files of the tenant would have too many bytes together', async () => {
    most = 10
    await upload('123456')
    await expect(upload('123456')).rejects.toThrow(StorageFullError)
    await upload('1234')
    await upload('123456', {}, 'other')
    expect((await listIds()).ids).toHaveLength(2)
  })

  it('of two at once that fit only alone, one is refused', async () => {
    most = 10
    const outcomes = await Promise.allSettled([upload('123456'), upload('123456')])
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    expect((await listIds()).ids).toHaveLength(1)
  })

  it('has room again once files are removed', async () => {
    most = 10
    const { id } = await upload('1234567890')
    expect(await store.remove('acme', id)).toBe(true)
    await upload('1234567890')
  })
})

describe('a file written part by part', () => {
  it('has its parts in the order of their numbers; a part written again replaces the first one, and a missing one is empty', async () => {
    const id = store.newId()
    await store.writePart('acme', id, 12, Buffer.from('c'))
    await store.writePart('acme', id, 0, Buffer.from('an old text'))
    await store.writePart('acme', id, 3, Buffer.from('b'))
    await store.writePart('acme', id, 0, Buffer.from('a'))
    const sealed = await store.seal('acme', id, { ...file, purpose: 'batch_output' }, 20)
    expect(sealed).toMatchObject({ id, bytes: 3, purpose: 'batch_output', createdAt: start })
    expect((await readAll(id))?.toString()).toBe('abc')
    for (const key of await leftKeys()) expect(await redis.pttl(key)).toBe(-1)
  })

  it('has only as many parts as it is sealed with', async () => {
    const id = store.newId()
    for (const part of [0, 1, 2]) await store.writePart('acme', id, part, Buffer.from(String(part)))
    expect(await store.seal('acme', id, file, 2)).toMatchObject({ bytes: 2 })
    expect((await readAll(id))?.toString()).toBe('01')
    expect(await redis.exists(`${root('acme')}:file:${id}:2`)).toBe(0)
  })

  it('may be empty', async () => {
    const { id, bytes } = await store.seal('acme', store.newId(), file, 0)
    expect(bytes).toBe(0)
    expect((await readAll(id))?.toString()).toBe('')
  })

  it('sealed twice is the same file', async () => {
    const id = store.newId()
    await store.writePart('acme', id, 0, Buffer.from('abc'))
    const first = await store.seal('acme', id, file, 1)
    time += hour
    expect(await store.seal('acme', id, { ...file, filename: 'another' }, 5)).toEqual(first)
    expect((await listIds()).ids).toEqual([id])
    expect(await redis.get(`${root('acme')}:files:bytes`)).toBe('3')
  })

  it('does not change once it is sealed', async () => {
    const id = store.newId()
    await store.writePart('acme', id, 0, Buffer.from('abc'))
    await store.seal('acme', id, file, 1)
    await store.writePart('acme', id, 0, Buffer.from('late'))
    await store.writePart('acme', id, 1, Buffer.from('later'))
    expect((await readAll(id))?.toString()).toBe('abc')
    expect(await redis.exists(`${root('acme')}:file:${id}:1`)).toBe(0)
  })

  it('is accepted though the tenant has no room, and counts', async () => {
    most = 2
    const id = store.newId()
    await store.writePart('acme', id, 0, Buffer.from('abc'))
    await store.seal('acme', id, file, 1)
    await expect(upload('1')).rejects.toThrow(StorageFullError)
  })
})

describe('reading', () => {
  it('begins at any byte', async () => {
    const content = randomBytes(2 * PART_BYTES + 10)
    const { id } = await store.create('acme', file, chunksOf(content))
    for (const from of [
      0,
      1,
      PART_BYTES - 1,
      PART_BYTES,
      2 * PART_BYTES + 3,
      content.length,
      content.length + 5,
    ]) {
      expect(content.subarray(from).equals((await readAll(id, 'acme', from))!)).toBe(true)
    }
  })

  it('fails rather than ends where the file is removed underway', async () => {
    const { id } = await store.create('acme', file, chunksOf(randomBytes(2 * PART_BYTES)))
    const parts = (await store.read('acme', id))![Symbol.asyncIterator]()
    await parts.next()
    await store.remove('acme', id)
    await expect(parts.next()).rejects.toThrow('removed')
  })
})

describe('removing', () => {
  it('takes every key with it', async () => {
    const { id } = await store.create(
      'acme',
      { ...file, expiresAt: start + hour },
      chunksOf(randomBytes(PART_BYTES + 1)),
    )
    expect(await store.remove('acme', id)).toBe(true)
    expect(await store.get('acme', id)).toBeNull()
    expect(await store.read('acme', id)).toBeNull()
    expect(await store.remove('acme', id)).toBe(false)
    expect(await leftKeys()).toEqual([])
    expect(await redis.get(`${root('acme')}:files:bytes`)).toBe('0')
  })

  it('works though the memory of Redis is full, where uploads fail', async () => {
    const { id } = await upload()
    await redis.config('SET', 'maxmemory', '1')
    try {
      await expect(upload()).rejects.toThrow(/OOM/)
      expect(await store.remove('acme', id)).toBe(true)
    } finally {
      await redis.config('SET', 'maxmemory', '0')
    }
    expect(await leftKeys()).toEqual([])
    expect(await redis.get(`${root('acme')}:files:bytes`)).toBe('0')
  })
})

describe('expiry', () => {
  it('hides a file at once, and the sweeper removes it', async () => {
    const { id } = await upload('abc', { expiresAt: start + hour })
    const { id: kept } = await upload('abc', { expiresAt: start + 2 * hour })
    time += hour - 1
    expect(await store.sweep('acme')).toBe(0)
    expect((await readAll(id))?.toString()).toBe('abc')
    time += 1
    expect(await store.get('acme', id)).toBeNull()
    expect(await store.read('acme', id)).toBeNull()
    expect(await store.remove('acme', id)).toBe(false)
    expect((await listIds()).ids).toEqual([kept])
    expect(await store.sweep('acme')).toBe(1)
    expect((await keysOf(redis, `*${id}*`)).filter((key) => !key.endsWith(':gone'))).toEqual([])
    expect(await redis.get(`${root('acme')}:files:bytes`)).toBe('3')
  })

  it('is decided by the clock of Redis at the removal, not by that of the sweeper', async () => {
    const deps = {
      root,
      newId: createIds('file-', Date.now),
      maxBytes: () => most,
      sealer: testSealer(),
      objects: null,
    }
    const far = Math.floor((Date.now() + 8 * 24 * hour) / 1000)
    const ahead = new Proxy(redis, {
      get(target, name) {
        if (name === 'time') return async () => [far, 0]
        const value = Reflect.get(target, name)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
    const right = createFileStore({ ...deps, redis })
    const expiresAt = Date.now() + hour
    const { id } = await right.create('acme', { ...file, expiresAt }, chunksOf(Buffer.from('abc')))
    expect(await createFileStore({ ...deps, redis: ahead }).sweep('acme')).toBe(0)
    expect(await right.get('acme', id)).toMatchObject({ id, expiresAt })
  })

  it('removes all expired files in one sweep, however many, and drops places whose files are gone', async () => {
    const count = 450
    await Promise.all(Array.from({ length: count }, () => upload('abc', { expiresAt: start + hour })))
    await redis.zadd(`${root('acme')}:files:expiry`, start, 'file-gone')
    time += hour
    expect(await store.sweep('acme')).toBe(count)
    expect(await redis.exists(`${root('acme')}:files`, `${root('acme')}:files:expiry`)).toBe(0)
  })

  it('lets Redis itself delete the parts an hour later, whether a sweeper runs or not', async () => {
    const { id } = await upload('abc', { expiresAt: start + hour })
    expect(await redis.pexpiretime(`${root('acme')}:file:${id}:0`)).toBe(start + 2 * hour)
    expect(await redis.pexpiretime(`${root('acme')}:file:${id}:sizes`)).toBe(start + 2 * hour)
  })
})

describe('the list', () => {
  it('pages through files of the same millisecond without gaps or repeats, in both orders', async () => {
    const made: string[] = []
    for (let count = 0; count < 7; count++) {
      made.push((await upload()).id)
      if (count === 4) time++
    }
    for (const order of ['asc', 'desc'] as const) {
      const seen: string[] = []
      for (let after: string | null = null; ; ) {
        const { ids, hasMore } = await listIds({ limit: 2, after, order })
        seen.push(...ids)
        if (!hasMore) break
        after = ids.at(-1)!
      }
      expect(seen).toEqual(order === 'asc' ? made : made.toReversed())
    }
  })

  it('goes on behind a file that was removed since', async () => {
    const made: string[] = []
    for (let count = 0; count < 5; count++) made.push((await upload()).id)
    const first = await listIds({ limit: 2, order: 'asc' })
    for (const id of first.ids) await store.remove('acme', id)
    expect((await listIds({ order: 'asc', after: first.ids[1]! })).ids).toEqual(made.slice(2))
  })

  it('of a purpose has only its files, over more than one look', async () => {
    const wanted: string[] = []
    for (let count = 0; count < 450; count++) {
      const purpose = count % 100 === 7 ? 'batch_output' : 'batch'
      const { id } = await store.seal('acme', store.newId(), { ...file, purpose }, 0)
      if (purpose === 'batch_output') wanted.push(id)
    }
    const query = { purpose: 'batch_output', order: 'asc' } as const
    expect(await listIds(query)).toEqual({ ids: wanted, hasMore: false })
    expect(await listIds({ ...query, limit: 4 })).toEqual({ ids: wanted.slice(0, 4), hasMore: true })
    expect(await listIds({ ...query, limit: 5 })).toEqual({ ids: wanted, hasMore: false })
  })

  it('goes on behind a file that was removed longer ago than its place is remembered', async () => {
    const made: string[] = []
    for (let index = 0; index < 6; index++) made.push((await upload()).id)
    for (const order of ['asc', 'desc'] as const) {
      const sorted = order === 'asc' ? [...made] : [...made].reverse()
      const place = order === 'asc' ? 2 : 0
      const gone = sorted[place]!
      await store.remove('acme', gone)
      await redis.del(`${root('acme')}:file:${gone}:gone`)
      made.splice(made.indexOf(gone), 1)
      expect((await listIds({ order, after: gone })).ids).toEqual(sorted.slice(place + 1))
    }
  })

  it('behind an id that never existed is empty', async () => {
    await upload()
    for (const after of ['file-unknown', 'x', 'file-1:sizes']) {
      expect(await listIds({ after })).toEqual({ ids: [], hasMore: false })
    }
  })
})

describe('another tenant', () => {
  it('finds nothing of a file', async () => {
    const { id } = await upload()
    expect(await store.get('other', id)).toBeNull()
    expect(await store.read('other', id)).toBeNull()
    expect(await store.remove('other', id)).toBe(false)
    expect((await listIds({}, 'other')).ids).toEqual([])
    expect((await readAll(id))?.toString()).toBe('hello')
  })
})

it('an id that names a key beside the records is not a file', async () => {
  const { id } = await upload()
  for (const odd of [`${id}:0`, `${id}:sizes`, `${id}:gone`, '', 'file-', `file-${'x'.repeat(200)}`]) {
    expect(await store.get('acme', odd)).toBeNull()
    expect(await store.read('acme', odd)).toBeNull()
    expect(await store.remove('acme', odd)).toBe(false)
  }
})

it('every key of a tenant is in one slot', async () => {
  const { id } = await upload('abc', { expiresAt: start + hour })
  await store.writePart('acme', store.newId(), 0, Buffer.from('x'))
  await store.remove('acme', id)
  await upload()
  const keys = await keysOf(redis, '*')
  expect(keys.length).toBeGreaterThan(5)
  for (const key of keys) expect(key).toMatch(/^test:\{t:acme\}:/)
})
