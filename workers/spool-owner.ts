import { createHash, randomUUIDv7 } from 'node:crypto'
import { stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { readMachineIdentity } from '../lib/machine-identity.ts'
import { readProcessIdentity } from '../lib/process-identity.ts'

/** Machine, process number and start of the process that wrote a file, then a part that tells its files apart. */
const FILE = /^(?:([0-9a-f]{12})\.)?(\d+)\.([0-9a-f]{12})\.[0-9a-f-]{36}\.(json|part)$/

/** A file in the spool folder: a whole result (`json`), or one that was not written to its end (`part`). */
export type SpoolFile = { name: string; kind: 'json' | 'part' }

/** Knows the owners of the files in a spool folder, which workers of several containers or machines may share. */
export type SpoolOwner = {
  /** A new name for a file of this process, without its ending. */
  nameFile(): Promise<string>
  /** The files among these names whose processes are gone. */
  findOrphans(names: readonly string[]): Promise<SpoolFile[]>
  /** Shows that this process lives and will handle these files, given by their paths. */
  touch(paths: Iterable<string>): Promise<void>
}

/**
 * On the same machine, the process table says which processes live. For other machines, only the file does: a live
 * process touches its files. So a file that did not change during a lease, by the monotonic clock of this process, has
 * no owner. If its writer was only blocked and still lives, the result is stored twice, which is harmless.
 *
 * @param deps.leaseMs how long a file of another machine is left alone after it was last seen to change
 */
export function createSpoolOwner(deps: { folder: string; leaseMs: number }): SpoolOwner {
  const { folder, leaseMs } = deps
  const machine = readMachineIdentity()
  const own = readProcess(process.pid)
  /** Files of other machines: when they last changed, by their own clock, and since when this process knows that. */
  const seen = new Map<string, { changedAt: number; since: number }>()

  async function isUntouched(name: string): Promise<boolean> {
    const changedAt = (await stat(join(folder, name)).catch(() => null))?.mtimeMs
    if (changedAt === undefined) return false // another worker removed it
    const before = seen.get(name)
    if (before?.changedAt === changedAt) return performance.now() - before.since >= leaseMs
    seen.set(name, { changedAt, since: performance.now() })
    return false
  }

  async function isOrphan(name: string, [, ofMachine, pid, began]: RegExpExecArray): Promise<boolean> {
    if (ofMachine === (await machine)) return (await readProcess(Number(pid))) !== `${pid}.${began}`
    return isUntouched(name)
  }

  return {
    nameFile: async () => `${await machine}.${await own}.${randomUUIDv7()}`,
    async findOrphans(names) {
      for (const name of seen.keys()) if (!names.includes(name)) seen.delete(name)
      const orphans: SpoolFile[] = []
      for (const name of names) {
        const match = FILE.exec(name)
        if (match !== null && (await isOrphan(name, match))) {
          orphans.push({ name, kind: match[4] as SpoolFile['kind'] })
        }
      }
      return orphans
    },
    async touch(paths) {
      const now = new Date()
      await Promise.all([...paths].map((path) => utimes(path, now, now).catch(() => {})))
    },
  }
}

/** A process as the names of its files show it. Process numbers repeat, so the start time tells processes apart. */
async function readProcess(pid: number): Promise<string> {
  const identity = (await readProcessIdentity(pid)) ?? ''
  return `${pid}.${createHash('sha256').update(identity).digest('hex').slice(0, 12)}`
}
