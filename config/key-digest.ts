import { createHash } from 'node:crypto'

const hashedKey = /^sha256:([0-9a-f]{64})$/i

/** A tenant key in the configuration: `sha256:` and 64 hex digits, or at least 16 plain characters. */
export const tenantKeyPattern = /^(?:sha256:[0-9a-fA-F]{64}|(?!sha256:)\S{16,})$/

/** SHA-256 of a key that a client sent: 32 bytes. */
export function digestKey(key: string): Buffer {
  return createHash('sha256').update(key, 'utf8').digest()
}

/** SHA-256 of a key in the configuration, plain or already hashed: 32 bytes. */
export function digestConfiguredKey(key: string): Buffer {
  const hex = hashedKey.exec(key)?.[1]
  return hex === undefined ? digestKey(key) : Buffer.from(hex, 'hex')
}
