import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import type { Finish } from '../jobs/finish.ts'
import { isRedisUnavailable } from '../lib/redis.ts'
import { repeat } from '../lib/repeat.ts'
import { explainFileFault, refuseFolder } from '../lib/system-refusal.ts'
import { createSpoolOwner } from './spool-owner.ts'

/** Pause between two looks for results of dead workers, ms. */
const LOOK_MS = 2000

/** How long a file of another machine is left alone while it does not change, ms. */
const LEASE_MS = 5000

/** How often within a lease a worker touches its files, and looks for those of others. */
const SIGNS = 4

/** Pause before a result that the store did not take is tried again, ms. */
const AGAIN_MS = 200

/** How long results that wait for the store may delay new calls, ms. */
const HOLD_UP_MS = 600_000

const argument = z.union([z.string(), z.number(), z.strictObject({ base64: z.base64() })])
const fileSchema = z.strictObject({
  store: z.string(),
  finishes: z.array(
    z.strictObject({
      tenant: z.string(),
      id: z.string(),
      args: z.array(argument),
      files: z.array(z.strictObject({ id: z.string(), filename: z.string(), base64: z.base64() })).optional(),
    }),
  ),
})

/**
 * Holds paid results that the store cannot take on the worker's disk, until the store takes them. If the worker dies
 * first, the next worker that looks into the folder stores them. Workers of several containers may share a folder.
 * Storing a result twice is harmless, so the owner of a file is not critical: a live writer keeps its files only to
 * save work.
 */
export type Spool = {
  /**
   * Puts results on disk, in the form in which the store takes them. Returns a function that removes them once they are
   * stored. Never throws: results that the disk cannot take either stay in memory.
   */
  put(finishes: Finish[]): Promise<() => Promise<void>>
  /** True while results of dead workers wait for the store, because their jobs look as if they needed a call. */
  isRecovering(): boolean
  /**
   * Files of whole results in the folder, of all owners: those that wait for the store, and those that were set aside.
   */
  count(): Promise<{ waiting: number; setAside: number }>
  stop(): Promise<void>
}

/** A lease, ms, that ends before a lost job is requeued, so that its result is stored by then. */
export function spoolLease(lockMs: number): number {
  return Math.min(LEASE_MS, Math.round(lockMs / 2))
}

/**
 * Makes the folder and tries it, so that a worker without a usable disk ends before it has results. A full disk is only
 * reported, because it passes. Any other fault is thrown as an error that tells operators what to do.
 */
export async function checkSpoolFolder(
  folder: string,
  onError: (error: unknown, what: string) => void,
): Promise<void> {
  const trial = join(folder, `.${process.pid}.trial`)
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    await (await open(trial, 'w', 0o600)).close()
    await rm(trial, { force: true })
  } catch (error) {
    const remedy = 'Make it writable for this user, or name another folder: worker.spool.'
    const refusal = refuseFolder(error, 'the folder for results that Redis does not take,', folder, remedy)
    if (explainFileFault(error)?.isPassing !== true) throw refusal
    onError(refusal, 'checking the spool folder')
  }
}

export function startSpool(deps: {
  folder: string
  /** The id of the store. Files of other stores stay where they are. */
  storeId: () => Promise<string>
  restore: (finishes: Finish[]) => Promise<void>
  onError: (error: unknown, what: string) => void
  /** See SpoolOwner. */
  leaseMs?: number
}): Spool {
  const { folder, restore, onError, leaseMs = LEASE_MS } = deps
  const owner = createSpoolOwner({ folder, leaseMs })
  const own = new Set<string>()
  const stopping = new AbortController()
  const passedOver = new Set<string>()
  let storeId: string | null = null
  let recoveringSince: number | null = performance.now()

  /**
   * The id is kept for when the store does not answer. Each look reads it again, because the store may have been
   * emptied or replaced.
   */
  async function readStore(): Promise<string> {
    storeId ??= await deps.storeId()
    return storeId
  }

  async function write(finishes: Finish[]): Promise<string> {
    const text = encode({ store: await readStore(), finishes })
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const path = join(folder, await owner.nameFile())
    own.add(`${path}.part`)
    try {
      const file = await open(`${path}.part`, 'wx', 0o600)
      try {
        await file.writeFile(text)
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(`${path}.part`, `${path}.json`)
      own.add(`${path}.json`)
    } finally {
      own.delete(`${path}.part`)
    }
    await syncFolder(folder)
    return `${path}.json`
  }

  /** Files of whole results that no live process will handle. */
  async function findOrphans(): Promise<string[]> {
    const names = await readdir(folder).catch(() => [])
    const orphans: string[] = []
    for (const { name, kind } of await owner.findOrphans(names.filter((one) => !passedOver.has(one)))) {
      // The writer died before the file was whole, so it has not reported the result as saved.
      if (kind === 'part') await rm(join(folder, name), { force: true })
      else orphans.push(name)
    }
    return orphans.sort()
  }

  async function recover(name: string): Promise<void> {
    const path = join(folder, name)
    const { store, finishes } = decode(await readFile(path, 'utf8'))
    if (store !== (await readStore())) {
      passedOver.add(name)
      throw new Error(`${path} is for another store, and stays`)
    }
    await restore(finishes)
    await rm(path, { force: true })
  }

  /** One look at the folder. Resolves when everything in it is stored or set aside, or the spool stops. */
  async function look(): Promise<void> {
    await deps.storeId().then(
      (id) => {
        storeId = id
      },
      () => {}, // `readStore` asks again when the id is needed
    )
    let orphans = await findOrphans()
    if (orphans.length > 0) recoveringSince ??= performance.now()
    while (orphans.length > 0 && !stopping.signal.aborted) {
      const left: string[] = []
      for (const name of orphans) {
        try {
          await recover(name)
        } catch (error) {
          if (isMissing(error)) continue // another worker was faster
          onError(error, 'storing a result that a dead worker left')
          if (isRedisUnavailable(error)) left.push(name)
          else if (!passedOver.has(name)) await setAside(name)
        }
      }
      orphans = left
      if (left.length > 0) await pause(AGAIN_MS)
    }
    recoveringSince = null
  }

  /** A result that can never be stored must neither be tried for ever nor be lost. */
  async function setAside(name: string): Promise<void> {
    passedOver.add(name)
    await rename(join(folder, name), join(folder, `${name}.bad`)).catch(() => {})
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      await look().catch((error) => {
        recoveringSince = null
        onError(error, 'looking for results that dead workers left')
      })
      await pause(Math.min(LOOK_MS, leaseMs / SIGNS))
    }
  }

  function pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      if (stopping.signal.aborted) return resolve()
      const end = () => {
        clearTimeout(timer)
        stopping.signal.removeEventListener('abort', end)
        resolve()
      }
      const timer = setTimeout(end, ms)
      stopping.signal.addEventListener('abort', end)
    })
  }

  const running = run()
  const signs = repeat(
    leaseMs / SIGNS,
    () => owner.touch(own),
    () => {},
  )

  return {
    async put(finishes) {
      try {
        // Tries once more, because a process that believes this one dead may have removed the half-written file.
        const path = await write(finishes).catch((error) => {
          if (!isMissing(error)) throw error
          return write(finishes)
        })
        return async () => {
          own.delete(path)
          await rm(path, { force: true }).catch((error) =>
            onError(error, 'removing a stored result from the spool'),
          )
        }
      } catch (error) {
        onError(error, 'writing a result to the spool')
        return async () => {}
      }
    },
    async count() {
      const names = await readdir(folder).catch(() => [])
      const endingWith = (ending: string) => names.filter((name) => name.endsWith(ending)).length
      return { waiting: endingWith('.json'), setAside: endingWith('.bad') }
    },
    isRecovering: () => recoveringSince !== null && performance.now() - recoveringSince < HOLD_UP_MS,
    async stop() {
      stopping.abort()
      await Promise.all([running, signs.stop()])
    },
  }
}

function encode({ store, finishes }: { store: string; finishes: Finish[] }): string {
  return JSON.stringify({
    store,
    finishes: finishes.map(({ tenant, id, args, files }) => ({
      tenant,
      id,
      args: args.map((one) => (Buffer.isBuffer(one) ? { base64: one.toString('base64') } : one)),
      files: files?.map((file) => ({
        id: file.id,
        filename: file.filename,
        base64: Buffer.from(file.bytes).toString('base64'),
      })),
    })),
  })
}

function decode(text: string): { store: string; finishes: Finish[] } {
  const { store, finishes } = fileSchema.parse(JSON.parse(text))
  return {
    store,
    finishes: finishes.map(({ tenant, id, args, files }) => ({
      tenant,
      id,
      args: args.map((one) => (typeof one === 'object' ? Buffer.from(one.base64, 'base64') : one)),
      ...(files === undefined
        ? {}
        : {
            files: files.map(({ base64, ...file }) => ({ ...file, bytes: Buffer.from(base64, 'base64') })),
          }),
    })),
  }
}

/** A new name in a folder is on disk only when the folder is synced. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT' && 'path' in error
}
