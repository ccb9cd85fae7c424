/**
 * Files whose content lies outside of Redis, each in one object: the parts of the file one after the other, each as
 * `encodePart` makes it, in an envelope where encryption is configured.
 *
 * - `<root>:files:writing`: sorted set of objects that are being written, by the time from which nobody is at it any more.
 * - `<root>:files:deleting`: sorted set of objects that no file has, by the time of the next try to delete them.
 *
 * An object is in one of them, or named by the record of its file, from before its first byte is written until it is deleted. So what a
 * crash leaves is found without a look at the store. Members are `<store>:<name>`; the name has a random part, because it is
 * written once.
 */
import { randomBytes } from 'node:crypto'
import { loadScript, runScript } from '../lib/lua-script.ts'
import type { RedisClient } from '../lib/redis.ts'
import { isSealed, type Sealer } from '../lib/sealer.ts'
import { FileStoreError, type ObjectStore, type ObjectStoreKind } from './object-store.ts'
import { decodePart, encodePart } from './parts.ts'

/** How long an object is left to its writer without a sign of it, and between two signs, ms. */
const LEASE_MS = 3_600_000
const SIGN_MS = 600_000
/** Between two tries to delete an object, ms. */
const AGAIN_MS = 60_000
/** Objects deleted between two looks at what is due. */
const BLOCK = 100
/** What is read at once of an object, bytes as stored: a reader may be slow, and holds no connection meanwhile. */
const WINDOW_BYTES = 2 * 1024 * 1024
/** An object that nothing knows is left alone for this long, ms. */
const ORPHAN_MS = 24 * 3_600_000
const GONE = 'what the file consists of is not in the store of files any more'

/** Where files can lie outside of Redis, and where new ones go; `current: null`: into Redis. */
export type ObjectStores = {
  current: ObjectStoreKind | null
  stores: { readonly [Kind in ObjectStoreKind]: ObjectStore | null }
  /** The id of this Redis: what other installations have in the same store is never touched. */
  storeId: () => Promise<string>
}

/** Bytes of a part of a file, and bytes as they are stored. */
export type PartSize = { plain: number; stored: number }

export type WrittenObject = { object: string; sizes: PartSize[] }

/**
 * @param deps.place where a part of a file belongs, for its envelope
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
    const message = `files lie in ${kind}, which is not configured any more (files.${kind})`
    throw new FileStoreError(kind, 'missing', message)
  }

  async function announce(tenant: string, object: string, isRenewal: boolean): Promise<void> {
    const args = [object, LEASE_MS, isRenewal ? '1' : '', simulated()]
    if ((await runScript(redis, scripts.announce, root(tenant), args)) === 1) return
    throw new Error('a file was written too slowly, and was given up')
  }

  /** Writes a file's content as a new object, which is announced until a seal takes it. A part is of no more use once the next is asked for. */
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
    let signedAt = performance.now()
    async function* encoded() {
      for await (const part of parts) {
        const frame = await encodePart(part)
        const stored = sealer.seal(place(tenant, id, sizes.length), frame) ?? frame
        sizes.push({ plain: part.length, stored: stored.length })
        yield stored
        if (performance.now() - signedAt < SIGN_MS) continue
        signedAt = performance.now()
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

  /** No file will have this object. Never throws: what is not deleted now is deleted by `clean`. */
  async function giveUp(tenant: string, object: string, isStoreThere = true): Promise<void> {
    try {
      await runScript(redis, scripts.giveUp, root(tenant), [object, 1, AGAIN_MS, simulated()])
      if (isStoreThere) await remove(tenant, object)
    } catch {} // `clean` does it
  }

  /** Deletes an object that no file has any more. */
  async function remove(tenant: string, object: string): Promise<void> {
    await storeOf(object).remove(await nameOf(tenant, object))
    await redis.zrem(`${root(tenant)}:files:deleting`, object)
  }

  /** Deletes what no file has, and what its writer left. Throws the last error, after it tried all. */
  async function clean(tenant: string): Promise<void> {
    const keys = [`${root(tenant)}:files:writing`, `${root(tenant)}:files:deleting`]
    if ((await redis.exists(...keys)) === 0) return
    let failure: unknown = null
    for (;;) {
      const args = ['', BLOCK, AGAIN_MS, simulated()]
      const due = (await runScript(redis, scripts.giveUp, root(tenant), args)) as string[]
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
   * Deletes objects that nothing in Redis knows: their names were lost with its last second. Each object is looked for first among
   * those that are written, then in its record, because it goes that way. Returns how many.
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

  /** The content from byte `from` on, part by part. Null: it is not in its store. The first parts are read before this resolves. */
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

    /** The next parts as they are stored. Null: the object is gone, or too short. */
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
