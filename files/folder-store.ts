import { type FileHandle, mkdir, open, opendir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { explainFileFault } from '../lib/system-refusal.ts'
import { FileStoreError, type ObjectStore, type StoredObject, splitObjectName } from './object-store.ts'

/** Suffix of an object while it is written. */
const PARTIAL_SUFFIX = '.half'
/** Objects listed at a time. */
const BLOCK = 1000

/**
 * Stores files in a folder of this machine, or in one that all machines share. An object is written under another name, synced to the disk,
 * and renamed: after a crash or a power loss it is there whole or not at all. Only this user can read the folder.
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
    const partial = `${path}${PARTIAL_SUFFIX}`
    const parent = dirname(path)
    const file = await openNew(partial, parent).catch(refuse)
    try {
      try {
        for await (const chunk of content) await writeAll(file, chunk).catch(refuse)
        await file.sync().catch(refuse)
      } finally {
        await file.close()
      }
      await rename(partial, path).catch((error: unknown) => {
        if (isMissing(error)) throw new Error('a file was written too slowly, and was given up')
        refuse(error)
      })
      await syncFolder(parent).catch(refuse)
    } catch (error) {
      // If this fails too, the rest is deleted by its name later.
      await rm(partial, { force: true }).catch(() => {})
      throw error
    }
  }

  /** The tenant's folder usually exists already. */
  async function openNew(path: string, parent: string): Promise<FileHandle> {
    try {
      return await open(path, 'wx', 0o600)
    } catch (error) {
      if (!isMissing(error)) throw error
      await make(parent)
      return await open(path, 'wx', 0o600)
    }
  }

  /** Creates a folder, and syncs the names of new folders to the disk. */
  async function make(parent: string): Promise<void> {
    const first = await mkdir(parent, { recursive: true, mode: 0o700 })
    if (first === undefined) return
    for (let path = parent; path.length >= first.length; path = dirname(path)) await syncFolder(dirname(path))
  }

  async function read(name: string, from: number, length: number): Promise<Buffer | null> {
    const file = await open(pathOf(name), 'r').catch(unlessMissing).catch(refuse)
    if (file === null) {
      // If even its tenant's folder is missing, this is not the folder that the object was written to.
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
    await Promise.all([path, `${path}${PARTIAL_SUFFIX}`].map((one) => rm(one, { force: true }))).catch(refuse)
  }

  async function* walk(path: string, name: string): AsyncGenerator<StoredObject> {
    const entries = await opendir(path).catch(unlessMissing).catch(refuse)
    if (entries === null) return
    for await (const entry of entries) {
      const inner = join(path, entry.name)
      if (entry.isDirectory()) yield* walk(inner, `${name}/${entry.name}`)
      else {
        const found = await stat(inner).catch(unlessMissing).catch(refuse)
        const shown = entry.name.endsWith(PARTIAL_SUFFIX)
          ? entry.name.slice(0, -PARTIAL_SUFFIX.length)
          : entry.name
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
 * Syncs the names in a folder to the disk. A sync covers only names that existed when it began: all callers during a running sync share the
 * next one.
 */
function createFolderSync(): (folder: string) => Promise<void> {
  const running = new Map<string, Promise<unknown>>()
  const next = new Map<string, Promise<void>>()
  function begin(folder: string): Promise<void> {
    next.delete(folder)
    const sync = syncNow(folder)
    const ended: Promise<unknown> = sync
      .catch(() => {})
      .then(() => {
        if (running.get(folder) === ended) running.delete(folder)
      })
    running.set(folder, ended)
    return sync
  }
  return (folder) => {
    const current = running.get(folder)
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
