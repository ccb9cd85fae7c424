import { randomBytes } from 'node:crypto'
import { digestKey } from '../config/key-digest.ts'
import { ExitCode } from './exit.ts'
import type { Terminal } from './terminal.ts'

/** Twice the minimum of a key. */
const KEY_BYTES = 32

/** `keys new`: creates a key for a client, and its digest for the configuration. */
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
