import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { shownWhole } from '../lib/describe-error.ts'
import { readProcessIdentity } from '../lib/process-identity.ts'

const ProcessSchema = z.object({ pid: z.number(), identity: z.string() })
const ClaimSchema = z.object({ owner: ProcessSchema, server: ProcessSchema.nullable() })
type ClaimRecord = z.infer<typeof ClaimSchema>

/** Another process has the folder. */
class FolderInUseError extends Error {
  override readonly name = 'FolderInUseError'
  readonly [shownWhole] = true
}

/** A server that outlived its program is asked to end, and killed after this, ms. */
const ORPHAN_ENDS_MS = 10_000

/** A data folder belongs to one live process; two servers on one append-only file would destroy it. */
export type FolderClaim = {
  /** Records the server that runs in the folder, so that the next owner can end it should this one die. */
  setServer(pid: number): Promise<void>
  release(): Promise<void>
}

/**
 * Takes an existing folder for this process. A claim whose owner is gone is taken over, and its server, if it
 * outlived the owner, ended first. Throws when another process, or this one, holds the folder.
 */
export async function claimFolder(folder: string): Promise<FolderClaim> {
  const file = join(folder, 'claim.json')
  const owner = await identify(process.pid)
  if (owner === null) throw new Error('this process cannot be found in the process table')
  while (!(await createFile(file, { owner, server: null }))) await removeStaleClaim(folder, file)
  return {
    async setServer(pid) {
      const next = `${file}.${process.pid}`
      await writeFile(next, JSON.stringify({ owner, server: await identify(pid) }))
      await rename(next, file)
    },
    release: () => rm(file, { force: true }),
  }
}

async function createFile(file: string, record: ClaimRecord): Promise<boolean> {
  try {
    await writeFile(file, JSON.stringify(record), { flag: 'wx' })
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
  }
}

async function removeStaleClaim(folder: string, file: string): Promise<void> {
  const text = await readFile(file, 'utf8').catch(() => null)
  if (text === null) return
  const record = parseClaim(text)
  if (record !== null) {
    if (await isAlive(record.owner)) {
      throw new FolderInUseError(
        `${folder} is in use by process ${record.owner.pid}. Stop that one, or give this one another folder. ` +
          `(If that process is not Sluice, remove ${file}.)`,
      )
    }
    if (record.server !== null) await endProcess(record.server)
  }
  await rm(file, { force: true })
}

/** Null for a file that a crash left half written. */
function parseClaim(text: string): ClaimRecord | null {
  try {
    return ClaimSchema.parse(JSON.parse(text))
  } catch {
    return null
  }
}

async function identify(pid: number): Promise<{ pid: number; identity: string } | null> {
  const identity = await readProcessIdentity(pid)
  return identity === null ? null : { pid, identity }
}

async function isAlive({ pid, identity }: { pid: number; identity: string }): Promise<boolean> {
  return (await readProcessIdentity(pid)) === identity
}

async function endProcess(target: { pid: number; identity: string }): Promise<void> {
  const deadline = performance.now() + ORPHAN_ENDS_MS
  for (let signal: 'SIGTERM' | 0 = 'SIGTERM'; await isAlive(target); signal = 0) {
    // It is not a child of this process, so its end can only be polled.
    process.kill(target.pid, performance.now() > deadline ? 'SIGKILL' : signal)
    await sleep(20)
  }
}
