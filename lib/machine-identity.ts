import { createHash, randomUUID } from 'node:crypto'
import { readFile, readlink } from 'node:fs/promises'
import { hostname } from 'node:os'

/**
 * Tells this machine, or container, from any other that sees the same folder: with an equal identity, process numbers mean the
 * same. On Linux the boot and the namespace of process numbers, because every container has a process number 1. If that cannot
 * be read the identity is random, and equal to no other. Twelve hexadecimal digits.
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
