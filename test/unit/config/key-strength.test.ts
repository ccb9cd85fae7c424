import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { estimateKeyBits, findWeakKeys } from '../../../config/key-strength.ts'
import { load, smallest } from './load-fixture.ts'

describe('a key of 128 random bits is never called weak', () => {
  test.each(['hex', 'base64url', 'base64'] as const)('written as %s', (encoding) => {
    for (let time = 0; time < 1_000; time++) {
      expect(estimateKeyBits(randomBytes(16).toString(encoding))).toBeGreaterThanOrEqual(128)
    }
  })
})

test.each([
  '0123456789012345678901234567',
  'a'.repeat(64),
  'abcabcabcabcabcabcabcabcabcabc',
  'changeme-changeme',
  'acme-key-0123456789',
])('the key %s is', (key) => {
  expect(estimateKeyBits(key)).toBeLessThan(128)
})

test('weak keys are named by their places; hashed ones are not judged', () => {
  const hashed = `sha256:${'0'.repeat(64)}`
  const good = randomBytes(32).toString('base64url')
  const tenants = `tenants: { acme: { keys: ["${good}", "acme-key-0123456789"] }, ops: { keys: ["${hashed}"] } }\n`
  expect(findWeakKeys(load(smallest + tenants))).toEqual(['tenants.acme.keys[1]'])
})
