import { type FileHandle, mkdir, open, opendir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { explainFileFault } from '../lib/system-refusal.ts'
import { FileStoreError, type ObjectStore, type StoredObject, splitObjectName } from './object-store.ts'

/** What an object is called while it is written. */
const HALF = '.half'
/** Objects listed at a time. */
const BLOCK = 1000

/**
 * Files in a folder of this machine, or one that all machines share. An object is written under another name, brought to the disk, and
 * renamed: after a crash, or a loss of power, it is there whole or not at all. The folder is for this user alone.
 */
export function createFolderStore({ folder }: { folder: string }): ObjectStore {
  const pathOf = (name: string) => join(folder, ...splitObjectName(name))
  const syncFolder = createFolderSync()

  function refuse(error: unknown): never {
    const fault = explainFileFault(error)
    if (fault === null) throw error
    const message = `the folder of files ${folder} (files.folder): ${fault.reason}`
    throw new FileStoreError('folder', fault.isPassing ? 'full' : 'refused', message, { cause: error })
  }

  async function write(name: string, content: AsyncIterable<Uint8Array>): Promise<void> {
    const path = pathOf(name)
    const half = `${path}${HALF}`
    const parent = dirname(path)
    const file = await openNew(half, parent).catch(refuse)
    try {
      try {
        for await (const chunk of content) await writeAll(file, chunk).catch(refuse)
        await file.sync().catch(refuse)
      } finally {
        await file.close()
      }
      await rename(half, path).catch((error: unknown) => {
        if (isMissing(error)) throw new Error('a file was written too slowly, and was given up')
        refuse(error)
      })
      await syncFolder(parent).catch(refuse)
    } catch (error) {
      // What is left if this fails too is deleted by its name later.
      await rm(half, { force: true }).catch(() => {})
      throw error
    }
  }

  /** Most objects have others of their tenant beside them already. */
  async function openNew(path: string, parent: string): Promise<FileHandle> {
    try {
      return await open(path, 'wx', 0o600)
    } catch (error) {
      if (!isMissing(error)) throw error
      await make(parent)
      return await open(path, 'wx', 0o600)
    }
  }

  /** Makes a folder, and brings the names of new ones to the disk. */
  async function make(parent: string): Promise<void> {
    const first = await mkdir(parent, { recursive: true, mode: 0o700 })
    if (first === undefined) return
    for (let path = parent; path.length >= first.length; path = dirname(path)) await syncFolder(dirname(path))
  }

  async function read(name: string, from: number, length: number): Promise<Buffer | null> {
    const file = await open(pathOf(name), 'r').catch(unlessMissing).catch(refuse)
    if (file === null) {
      // Not even its tenant's folder: then the folder is not the one that the object was written to.
      await stat(dirname(pathOf(name))).catch((error: unknown) => {
        if (!isMissing(error)) refuse(error)
        const message = `the folder of files ${folder} (files.folder): what was written is not in it. Is it mounted, and the same for all processes?`
        throw new FileStoreError('folder', 'missing', message)
      })
      return null
    }
    try {
      const buffer = Buffer.allocUnsafeSlow(length)
      let filled = 0
      while (filled < length) {
        const { bytesRead } = await file.read(buffer, filled, length - filled, from + filled).catch(refuse)
        if (bytesRead === 0) break
        filled += bytesRead
      }
      return buffer.subarray(0, filled)
    } finally {
      await file.close()
    }
  }

  async function remove(name: string): Promise<void> {
    const path = pathOf(name)
    await Promise.all([path, `${path}${HALF}`].map((one) => rm(one, { force: true }))).catch(refuse)
  }

  async function* walk(path: string, name: string): AsyncGenerator<StoredObject> {
    const entries = await opendir(path).catch(unlessMissing).catch(refuse)
    if (entries === null) return
    for await (const entry of entries) {
      const inner = join(path, entry.name)
      if (entry.isDirectory()) yield* walk(inner, `${name}/${entry.name}`)
      else {
        const found = await stat(inner).catch(unlessMissing).catch(refuse)
        const shown = entry.name.endsWith(HALF) ? entry.name.slice(0, -HALF.length) : entry.name
        if (found !== null) yield { name: `${name}/${shown}`, modifiedAt: found.mtimeMs }
      }
    }
  }

  return {
    write,
    read,
    remove,
    async *list(name) {
      let block: StoredObject[] = []
      for await (const object of walk(pathOf(name), name)) {
        block.push(object)
        if (block.length < BLOCK) continue
        yield block
        block = []
      }
      if (block.length > 0) yield block
    },
    async check() {
      const trial = join(folder, `.${process.pid}.trial`)
      try {
        await make(folder)
        await (await open(trial, 'w', 0o600)).close()
        await rm(trial, { force: true })
      } catch (error) {
        refuse(error)
      }
    },
  }
}

async function writeAll(file: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let at = 0; at < chunk.length; ) at += (await file.write(chunk, at)).bytesWritten
}

/**
 * Brings the names in a folder to the disk. A sync is of use to those only whose names were there when it began: all that come while one is
 * under way share the next.
 */
function createFolderSync(): (folder: string) => Promise<void> {
  const underWay = new Map<string, Promise<unknown>>()
  const next = new Map<string, Promise<void>>()
  function begin(folder: string): Promise<void> {
    next.delete(folder)
    const sync = syncNow(folder)
    const ended: Promise<unknown> = sync
      .catch(() => {})
      .then(() => {
        if (underWay.get(folder) === ended) underWay.delete(folder)
      })
    underWay.set(folder, ended)
    return sync
  }
  return (folder) => {
    const current = underWay.get(folder)
    if (current === undefined) return begin(folder)
    const waiting = next.get(folder) ?? current.then(() => begin(folder))
    next.set(folder, waiting)
    return waiting
  }
}

async function syncNow(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}

function unlessMissing(error: unknown): null {
  if (isMissing(error)) return null
  throw error
}
