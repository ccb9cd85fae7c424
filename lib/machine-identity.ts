import { createHash, randomUUID } from 'node:crypto'
import { readFile, readlink } from 'node:fs/promises'
import { hostname } from 'node:os'

/**
 * Distinguishes this machine, or container, from any other that sees the same folder: with equal identities, process ids mean the same. On
 * Linux it is the boot and the PID namespace, because every container has a process 1. If that cannot be read, the identity is random and
 * equals no other. Twelve hexadecimal digits.
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
