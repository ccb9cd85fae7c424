import { randomBytes } from 'node:crypto'
import { digestKey } from '../config/key-digest.ts'
import { ExitCode } from './exit.ts'
import type { Terminal } from './terminal.ts'

/** Twice what a key has to have at the least. */
const KEY_BYTES = 32

/** `keys new`: a key for a tenant's client, and what the configuration needs to know of it. */
export async function runNewKey(terminal: Terminal, { json }: { json?: boolean }): Promise<ExitCode> {
  const key = randomBytes(KEY_BYTES).toString('base64url')
  const digest = `sha256:${digestKey(key).toString('hex')}`
  await terminal.write(
    json
      ? `${JSON.stringify({ key, digest })}\n`
      : `for the client:     ${key}\nfor sluice.yaml:    ${digest}\n`,
  )
  return ExitCode.ok
}
