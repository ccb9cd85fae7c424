/**
 * Files: their records are in Redis; their content is in Redis or in an object outside of it (objects.ts).
 *
 * All keys begin with the tenant's root, and have its hash tag:
 * - `<root>:file:<id>`: hash, the record of a sealed file: id, filename, purpose, bytes, created_at and expires_at (Unix ms; '' for never),
 *   and `object` if its content is in one. Without a record the file does not exist, even if it has parts.
 * - `<root>:file:<id>:<n>`: string, part n as a zstd frame, encrypted where encryption is configured.
 * - `<root>:file:<id>:sizes`: hash, the bytes of each part by its number, before compression; for parts of an object also the bytes as
 *   stored, after a blank.
 * - `<root>:file:<id>:gone`: string, created_at of a removed file, for a while: a list continues after it.
 * - `<root>:files`, `<root>:files:expiry`: sorted sets of ids, by created_at and expires_at.
 * - `<root>:files:bytes`: string, the bytes of all sealed files together.
 *
 * Parts expire until a seal makes them persist, and again if the file expires: a crash leaves no parts for ever. Files that are written
 * part by part are in Redis until they are sealed, even if they become an object then: parts come in any order and from any process, and
 * the store of objects may be away meanwhile.
 */
import { hasIdTime } from '../lib/job-id.ts'
import { findLostPlace } from '../lib/list-place.ts'
import { loadScript, runScript } from '../lib/lua-script.ts'
import type { RedisClient } from '../lib/redis.ts'
import type { Sealer } from '../lib/sealer.ts'
import { walkIndex } from '../lib/walk-index.ts'
import { type FilePage, type FileRecord, type Files, type NewFile, StorageFullError } from './files.ts'
import { FileStoreError } from './object-store.ts'
import { createFileObjects, type ObjectStores, type WrittenObject } from './objects.ts'
import { cutParts, encodePart, sliceParts } from './parts.ts'
import { createContentReader } from './read-content.ts'
import { isFileId, readLiving, readRecord, toFields } from './record.ts'

const HOUR_MS = 3_600_000
/** How long parts of an unsealed upload are kept, ms. Uploads take minutes. */
const UPLOAD_TTL_MS = HOUR_MS
/** How long parts that are written one by one are kept, ms. */
const PART_TTL_MS = 7 * 24 * HOUR_MS
/** How long parts are kept after their file expired, for readers in the middle of it, ms. */
const EXPIRED_PARTS_TTL_MS = HOUR_MS
/** How long a list can continue after a removed file, ms. */
const PLACE_TTL_MS = HOUR_MS
/** A file up to this size stays in Redis if its store cannot take it, because its result is already paid for. */
const MAX_KEPT_BYTES = 32 * 1024 * 1024
/** Files looked at in one round trip. */
const CHUNK = 200

/**
 * @param deps.root returns a tenant's root key, hash tag included
 * @param deps.now a clock in Unix ms in place of Redis' own, for simulated time
 * @param deps.newId makes ids `file-…` that sort by creation
 * @param deps.maxBytes most bytes that a tenant's files may have together when one is uploaded
 * @param deps.objects the stores outside of Redis; null: none
 */
export function createFileStore(deps: {
  redis: RedisClient
  root: (tenant: string) => string
  now?: () => number
  newId: () => string
  maxBytes: () => number
  sealer: Sealer
  objects: ObjectStores | null
}): Files {
  const { redis, root, now, newId, maxBytes, sealer } = deps
  const script = (name: string) => loadScript(new URL(`./lua/${name}.lua`, import.meta.url))
  const scripts = { write: script('write'), seal: script('seal'), remove: script('remove') }
  const keyOf = (tenant: string, id: string) => `${root(tenant)}:file:${id}`
  /** Unix ms by Redis' clock, which decides what has expired. */
  async function readTime(): Promise<number> {
    if (now) return now()
    const [seconds, micros] = await redis.time()
    return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000)
  }

  const placeOf = (tenant: string, id: string, part: number) => ({
    root: root(tenant),
    purpose: `part ${part}`,
    id,
  })
  const objects = createFileObjects({
    ...(deps.objects ?? nowhere),
    ...{ redis, root, place: placeOf, sealer },
    ...(now === undefined ? {} : { now }),
  })
  const { read, readSizes, readParts, readPart } = createContentReader({
    ...{ redis, sealer, objects, keyOf, placeOf, readTime },
  })

  async function create(
    tenant: string,
    file: NewFile | ((createdAt: number) => NewFile),
    content: AsyncIterable<Uint8Array>,
  ): Promise<FileRecord> {
    const id = newId()
    const used = Number((await redis.get(`${root(tenant)}:files:bytes`)) ?? 0)
    const most = maxBytes()
    const bounded = refuseBeyond(content, used, most)
    const describe = async () => {
      const createdAt = await readTime()
      return { ...(typeof file === 'function' ? file(createdAt) : file), createdAt }
    }
    if (objects.current !== null) {
      const written = await objects.write(tenant, id, cutParts(bounded))
      try {
        return await sealAs(tenant, id, await describe(), written, most)
      } catch (error) {
        await objects.giveUp(tenant, written.object)
        throw error
      }
    }
    try {
      let parts = 0
      for await (const part of cutParts(bounded)) await write(tenant, id, parts++, part, UPLOAD_TTL_MS)
      return await sealAs(tenant, id, await describe(), { parts }, most)
    } catch (error) {
      // If this fails too, the written parts expire.
      await removeAny(tenant, id, true).catch(() => undefined)
      throw error
    }
  }

  async function write(tenant: string, id: string, part: number, content: Uint8Array, ttl: number) {
    const frame = await encodePart(content)
    const stored = sealer.seal(placeOf(tenant, id, part), frame) ?? frame
    await runScript(redis, scripts.write, root(tenant), [id, part, content.length, stored, ttl])
  }

  /** @param made the source of the file: the first parts in Redis, or an object, which may be made from parts in Redis of so many bytes */
  async function sealAs(
    tenant: string,
    id: string,
    file: NewFile & { createdAt: number },
    made: { parts: number } | (WrittenObject & { staged?: { parts: number; bytes: number } }),
    most: number | null,
  ): Promise<FileRecord> {
    const { filename, purpose, createdAt, expiresAt } = file
    const keptUntil = expiresAt === null ? '' : expiresAt + EXPIRED_PARTS_TTL_MS
    const [parts, content] =
      'parts' in made
        ? [made.parts, ['', '']]
        : [
            made.staged?.parts ?? 0,
            [
              made.object,
              made.staged?.bytes ?? '',
              ...made.sizes.flatMap(({ plain, stored }) => [plain, stored]),
            ],
          ]
    const answer = await runScript(redis, scripts.seal, root(tenant), [
      ...[id, filename, purpose, createdAt, expiresAt ?? '', keptUntil, parts, most ?? ''],
      ...content,
    ])
    if (answer === 'full') throw new StorageFullError(most ?? 0)
    if (!Array.isArray(answer)) throw new Error(`a file is not sealed: ${answer}`)
    const fields = toFields(answer as string[])
    // Another process sealed the file first.
    if ('object' in made && fields.object !== made.object) await objects.giveUp(tenant, made.object)
    return readRecord(tenant, fields)
  }

  async function sealParts(tenant: string, id: string, file: NewFile, parts: number): Promise<FileRecord> {
    const key = keyOf(tenant, id)
    const described = { ...file, createdAt: await readTime() }
    const isSealedAlready = (await redis.exists(key)) === 1
    const staged = isSealedAlready || objects.current === null ? [] : await readSizes(tenant, id, parts)
    const bytes = staged.reduce((sum, { size }) => sum + size.plain, 0)
    if (bytes === 0) return sealAs(tenant, id, described, { parts }, null)
    let written: WrittenObject
    try {
      written = await objects.write(tenant, id, cutParts(readParts(tenant, id, staged, 0)))
    } catch (error) {
      // If another process sealed the file meanwhile, its parts are gone, and this returns its record.
      const isSealedByOther = (await redis.exists(key)) === 1
      if (!isSealedByOther && (!(error instanceof FileStoreError) || bytes > MAX_KEPT_BYTES)) throw error
      return await sealAs(tenant, id, described, { parts }, null)
    }
    return await sealWritten(tenant, id, described, { ...written, staged: { parts, bytes } })
  }

  async function put(tenant: string, id: string, file: NewFile, content: Uint8Array): Promise<FileRecord> {
    if (objects.current !== null && content.length > 0) {
      try {
        // This fails first if Redis is away, before anything is written.
        const createdAt = await readTime()
        const written = await objects.write(tenant, id, sliceParts(content))
        return await sealWritten(tenant, id, { ...file, createdAt }, written)
      } catch (error) {
        if (!(error instanceof FileStoreError) || content.length > MAX_KEPT_BYTES) throw error
      }
    }
    const parts = [...sliceParts(content)]
    for (const [part, bytes] of parts.entries()) await write(tenant, id, part, bytes, PART_TTL_MS)
    return await sealAs(tenant, id, { ...file, createdAt: await readTime() }, { parts: parts.length }, null)
  }

  /** Makes a file from an object. If that fails, the object is given up. */
  async function sealWritten(
    tenant: string,
    id: string,
    file: NewFile & { createdAt: number },
    made: WrittenObject & { staged?: { parts: number; bytes: number } },
  ): Promise<FileRecord> {
    try {
      return await sealAs(tenant, id, file, made, null)
    } catch (error) {
      await objects.giveUp(tenant, made.object)
      throw error
    }
  }

  async function removeAny(tenant: string, id: string, unsealed: boolean, expired = false): Promise<boolean> {
    const args = [id, unsealed ? '1' : '', PLACE_TTL_MS, expired ? '1' : '', now ? now() : '']
    const answer = await runScript(redis, scripts.remove, root(tenant), args)
    // The file is deleted. If its store is away, the object is deleted later.
    if (typeof answer === 'string' && answer !== '') await objects.remove(tenant, answer).catch(() => {})
    return typeof answer === 'string'
  }

  async function get(tenant: string, id: string): Promise<FileRecord | null> {
    if (!isFileId(id)) return null
    const [fields, time] = await Promise.all([redis.hgetall(keyOf(tenant, id)), readTime()])
    return readLiving(tenant, fields, time)
  }

  async function readRecords(tenant: string, ids: string[]): Promise<(FileRecord | null)[]> {
    const reads = ids.map((id) => redis.hgetall(keyOf(tenant, id)))
    const [time, answers] = await Promise.all([readTime(), Promise.all(reads)])
    return answers.map((fields) => readLiving(tenant, fields, time))
  }

  /** The score at which a list continues after a file, which may have been deleted; null: nothing follows. */
  async function readPlace(tenant: string, id: string, order: 'asc' | 'desc'): Promise<string | null> {
    if (!isFileId(id)) return null
    const key = keyOf(tenant, id)
    const known = (await redis.hget(key, 'created_at')) ?? (await redis.get(`${key}:gone`))
    if (known !== null || !hasIdTime(id)) return known
    const next = await findLostPlace(redis, `${root(tenant)}:files`, id)
    return next ?? (order === 'desc' ? '+inf' : null)
  }

  async function list(tenant: string, query: Parameters<Files['list']>[1]): Promise<FilePage> {
    const { limit, after, purpose, order } = query
    const index = `${root(tenant)}:files`
    const from = after === null ? null : await readPlace(tenant, after, order)
    if (after !== null && from === null) return { files: [], hasMore: false }
    const files: FileRecord[] = []
    const place = after === null || from === null ? null : { id: after, score: from }
    for await (const entries of walkIndex(redis, index, { order, after: place, block: CHUNK })) {
      const ids = entries.map(({ id }) => id)
      for (const record of await readRecords(tenant, ids)) {
        if (record === null || (purpose !== null && record.purpose !== purpose)) continue
        if (files.length === limit) return { files, hasMore: true }
        files.push(record)
      }
    }
    return { files, hasMore: false }
  }

  async function remove(tenant: string, id: string): Promise<boolean> {
    // An expired file counts as deleted, even before the sweeper deletes it.
    return (await get(tenant, id)) !== null && (await removeAny(tenant, id, false))
  }

  async function sweep(tenant: string): Promise<number> {
    let total = 0
    for (let first = ''; ; ) {
      const time = await readTime()
      const due = await redis.zrangebyscore(`${root(tenant)}:files:expiry`, '-inf', time, 'LIMIT', 0, CHUNK)
      // One after the other: a file may have a thousand parts, and other clients of Redis get turns in between.
      for (const id of due) if (await removeAny(tenant, id, false, true)) total++
      // Files that could not be removed would come again.
      if (due.length < CHUNK || due[0] === first) break
      first = due[0]!
    }
    await objects.clean(tenant)
    return total
  }

  return {
    create,
    newId,
    writePart: (tenant, id, part, content, ttlMs = PART_TTL_MS) => write(tenant, id, part, content, ttlMs),
    readPart: (tenant, id, part) => readPart(tenant, id, part),
    async discard(tenant, id) {
      await removeAny(tenant, id, true)
    },
    seal: sealParts,
    put,
    get,
    list,
    read,
    remove,
    sweep,
    sweepOrphans: objects.sweepOrphans,
  }
}

const nowhere: ObjectStores = {
  current: null,
  stores: { folder: null, s3: null },
  storeId: async () => '',
}

async function* refuseBeyond(
  content: AsyncIterable<Uint8Array>,
  used: number,
  most: number,
): AsyncGenerator<Uint8Array> {
  let bytes = used
  for await (const chunk of content) {
    bytes += chunk.length
    if (bytes > most) throw new StorageFullError(most)
    yield chunk
  }
}
