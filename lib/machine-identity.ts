import { createHash, randomUUID } from 'node:crypto'
import { readFile, readlink } from 'node:fs/promises'
import { hostname } from 'node:os'

/**
 * What tells this machine, or container, from any other that sees the same folder: process numbers mean the same where this is
 * the same. On Linux the boot and the namespace of process numbers, for in every container a process is number 1. Where that cannot
 * be read it is made up, and the same as nobody's. Twelve hexadecimal digits.
 */
export async function readMachineIdentity(): Promise<string> {
  return createHash('sha256')
    .update(await readParts())
    .digest('hex')
    .slice(0, 12)
}

async function readParts(): Promise<string> {
  if (process.platform !== 'linux') return hostname()
  try {
    const [boot, namespace] = await Promise.all([
      readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
      readlink('/proc/self/ns/pid'),
    ])
    return `${boot.trim()} ${namespace}`
  } catch {
    return randomUUID()
  }
}
