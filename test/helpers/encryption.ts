import { type AtRest, createAtRest } from '../../jobs/at-rest.ts'
import { createSealer, type Sealer } from '../../lib/sealer.ts'

/** Two keys for tests, 32 bytes as base64. */
export const testKeys = [
  Buffer.alloc(32, 7).toString('base64'),
  Buffer.alloc(32, 9).toString('base64'),
] as const

/** Whether the helpers encrypt: `SLUICE_TEST_ENCRYPTION=1` runs every test with encryption. */
const isOn = process.env.SLUICE_TEST_ENCRYPTION === '1'

/** One line of YAML that turns encryption on if the helpers encrypt. */
export const testEncryption = isOn ? `encryption: { keys: ["${testKeys[0]}"] }` : ''

/** @param keys by default those of the environment */
export function testSealer(keys: readonly string[] = isOn ? [testKeys[0]] : []): Sealer {
  return createSealer({ keys: keys.map((key) => Buffer.from(key, 'base64')), now: Date.now })
}

export function testAtRest(sealer = testSealer(), onUnreadable: (error: Error) => void = () => {}): AtRest {
  return createAtRest({ sealer, onUnreadable })
}
