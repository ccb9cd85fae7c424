/**
 * Files whose content is outside of Redis, each in one object: the parts of the file in order, each encoded by `encodePart`, and encrypted
 * where encryption is configured.
 *
 * - `<root>:files:writing`: sorted set of objects that are being written, by the time at which the writer counts as dead.
 * - `<root>:files:deleting`: sorted set of objects that belong to no file, by the time of the next try to delete them.
 *
 * From before its first byte is written until it is deleted, an object is in one of these sets or is named by its file's record. So
 * everything that a crash leaves behind is found without listing the store. Members are `<store>:<name>`. The name has a random part,
 * because every name is written once.
 */
import { randomBytes } from 'node:crypto'
import { loadScript, runScript } from '../lib/lua-script.ts'
import type { RedisClient } from '../lib/redis.ts'
import { isSealed, type Sealer } from '../lib/sealer.ts'
import { FileStoreError, type ObjectStore, type ObjectStoreKind } from './object-store.ts'
import { decodePart, encodePart } from './parts.ts'

/** How long an announced object is left to its writer without a renewal, and the time between two renewals, ms. */
const LEASE_MS = 3_600_000
const RENEWAL_MS = 600_000
/** Pause between two tries to delete an object, ms. */
const AGAIN_MS = 60_000
/** Objects deleted in one block. */
const BLOCK = 100
/** Bytes (as stored) that are read from an object at once. A slow reader holds no connection in between. */
const WINDOW_BYTES = 2 * 1024 * 1024
/** An object that is unknown in Redis is deleted only after this long, ms. */
const ORPHAN_MS = 24 * 3_600_000
const GONE = 'the content of the file is no longer in the store of files'

/** The stores for files outside of Redis, and the one for new files; `current: null`: new files go into Redis. */
export type ObjectStores = {
  current: ObjectStoreKind | null
  stores: { readonly [Kind in ObjectStoreKind]: ObjectStore | null }
  /** The id of this Redis. Objects of other installations in the same store are never touched. */
  storeId: () => Promise<string>
}

/** Bytes of a part of a file, and bytes as stored. */
export type PartSize = { plain: number; stored: number }

export type WrittenObject = { object: string; sizes: PartSize[] }

/**
 * @param deps.place identifies a part of a file, for its encryption
 * @param deps.now a clock in Unix ms in place of Redis' own, for simulated time
 */
export function createFileObjects(
  deps: ObjectStores & {
    redis: RedisClient
    root: (tenant: string) => string
    place: (tenant: string, id: string, part: number) => Parameters<Sealer['seal']>[0]
    now?: () => number
    sealer: Sealer
  },
) {
  const { redis, root, place, now, sealer, current, stores } = deps
  const script = (name: string) => loadScript(new URL(`./lua/${name}.lua`, import.meta.url))
  const scripts = { announce: script('announce'), giveUp: script('give-up') }
  const simulated = () => (now ? now() : '')
  let storeId: string | null = null

  async function nameOf(tenant: string, object: string): Promise<string> {
    storeId ??= await deps.storeId()
    return `${storeId}/${tenant}/${object.slice(object.indexOf(':') + 1)}`
  }

  function storeOf(object: string): ObjectStore {
    const kind = object.slice(0, object.indexOf(':')) as ObjectStoreKind
    const store = stores[kind]
    if (store) return store
    const message = `the files are in ${kind}, which is no longer configured (files.${kind})`
    throw new FileStoreError(kind, 'missing', message)
  }

  async function announce(tenant: string, object: string, isRenewal: boolean): Promise<void> {
    const args = [object, LEASE_MS, isRenewal ? '1' : '', simulated()]
    if ((await runScript(redis, scripts.announce, root(tenant), args)) === 1) return
    throw new Error('a file was written too slowly, and was given up')
  }

  /**
   * Writes a file's content as a new object, which stays announced until it is sealed. A part may be overwritten once the next one is
   * requested.
   */
  async function write(
    tenant: string,
    id: string,
    parts: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Promise<WrittenObject> {
    const object = `${current}:${id}.${randomBytes(8).toString('hex')}`
    const store = storeOf(object)
    const name = await nameOf(tenant, object)
    await announce(tenant, object, false)
    const sizes: PartSize[] = []
    let announcedAt = performance.now()
    async function* encoded() {
      for await (const part of parts) {
        const frame = await encodePart(part)
        const stored = sealer.seal(place(tenant, id, sizes.length), frame) ?? frame
        sizes.push({ plain: part.length, stored: stored.length })
        yield stored
        if (performance.now() - announcedAt < RENEWAL_MS) continue
        announcedAt = performance.now()
        await announce(tenant, object, true)
      }
    }
    try {
      await store.write(name, encoded())
      return { object, sizes }
    } catch (error) {
      await giveUp(tenant, object, !(error instanceof FileStoreError))
      throw error
    }
  }

  /** Notes that this object, or up to so many that are due where none is named, are to be deleted now; answers which. */
  async function takeUnused(tenant: string, object: string, most: number): Promise<string[]> {
    const args = [object, most, AGAIN_MS, simulated()]
    return (await runScript(redis, scripts.giveUp, root(tenant), args)) as string[]
  }

  /** Gives up an object that no file will have. Never throws: what cannot be deleted now is deleted by `clean`. */
  async function giveUp(tenant: string, object: string, isStoreThere = true): Promise<void> {
    try {
      await takeUnused(tenant, object, 1)
      if (isStoreThere) await remove(tenant, object)
    } catch {} // `clean` does it
  }

  /** Deletes an object that no file has any more. */
  async function remove(tenant: string, object: string): Promise<void> {
    await storeOf(object).remove(await nameOf(tenant, object))
    await redis.zrem(`${root(tenant)}:files:deleting`, object)
  }

  /** Deletes objects that no file has, and those of dead writers. Tries all, then throws the last error. */
  async function clean(tenant: string): Promise<void> {
    const keys = [`${root(tenant)}:files:writing`, `${root(tenant)}:files:deleting`]
    if ((await redis.exists(...keys)) === 0) return
    let failure: unknown = null
    for (;;) {
      const due = await takeUnused(tenant, '', BLOCK)
      for (const object of due) {
        await remove(tenant, object).catch((error: unknown) => {
          failure = error
        })
      }
      if (due.length < BLOCK || failure !== null) break
    }
    if (failure !== null) throw failure
  }

  /**
   * Deletes objects that are unknown in Redis, because Redis lost its last second. An object moves from the set of written objects to a
   * record, so it is looked up in this order. Returns how many were deleted.
   */
  async function sweepOrphans(signal: AbortSignal): Promise<number> {
    let removed = 0
    storeId ??= await deps.storeId()
    for (const kind of ['folder', 's3'] as const) {
      const store = stores[kind]
      if (store === null) continue
      for await (const block of store.list(storeId)) {
        if (signal.aborted) return removed
        const time = await readTime()
        for (const { name, modifiedAt } of block) {
          if (!(time - modifiedAt > ORPHAN_MS) || (await isKnown(kind, name))) continue
          await store.remove(name)
          removed++
        }
      }
    }
    return removed
  }

  async function isKnown(kind: ObjectStoreKind, name: string): Promise<boolean> {
    const [, tenant = '', last = ''] = name.split('/')
    const object = `${kind}:${last}`
    for (const set of ['writing', 'deleting']) {
      if ((await redis.zscore(`${root(tenant)}:files:${set}`, object)) !== null) return true
    }
    return (await redis.hget(`${root(tenant)}:file:${last.replace(/\.[^.]*$/, '')}`, 'object')) === object
  }

  async function readTime(): Promise<number> {
    if (now) return now()
    return Number((await redis.time())[0]) * 1000
  }

  /** The content from byte `from` on, part by part. Null: the object is missing. The first parts are read before this resolves. */
  async function read(
    tenant: string,
    id: string,
    { object, sizes }: WrittenObject,
    from: number,
  ): Promise<AsyncIterable<Uint8Array> | null> {
    const store = storeOf(object)
    const name = await nameOf(tenant, object)
    let part = 0
    let at = 0
    let skip = from
    for (; part < sizes.length && skip >= sizes[part]!.plain; part++) {
      skip -= sizes[part]!.plain
      at += sizes[part]!.stored
    }

    /** Reads the next parts as stored. Null: the object is missing or too short. */
    async function readWindow(): Promise<{ first: number; frames: Buffer[] } | null> {
      const first = part
      const start = at
      const ends: number[] = []
      for (; part < sizes.length && (part === first || at - start < WINDOW_BYTES); part++) {
        at += sizes[part]!.stored
        ends.push(at - start)
      }
      const bytes = await store.read(name, start, at - start)
      if (bytes === null || bytes.length !== at - start) return null
      return {
        first,
        frames: ends.map((end, index) => bytes.subarray(index === 0 ? 0 : ends[index - 1], end)),
      }
    }

    let window = await readWindow()
    if (window === null) return null
    return (async function* () {
      for (;;) {
        if (window === null) throw new Error(GONE)
        for (const [index, frame] of window.frames.entries()) {
          const opened = isSealed(frame) ? sealer.open(place(tenant, id, window.first + index), frame) : frame
          const { plain } = sizes[window.first + index]!
          yield (await decodePart(opened, plain)).subarray(skip)
          skip = 0
        }
        if (part >= sizes.length) return
        window = await readWindow()
      }
    })()
  }

  return { current, write, read, giveUp, remove, clean, sweepOrphans }
}

export type FileObjects = ReturnType<typeof createFileObjects>
