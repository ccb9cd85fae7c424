import { describe, expect, test } from 'vitest'
import { decodeEncryptionKey } from '../../../config/encryption-key.ts'
import { faultsOf, load, smallest } from './load-fixture.ts'

const bytes = Buffer.from(Array.from({ length: 32 }, (_, index) => 255 - index * 7))
const other = Buffer.alloc(32, 0xa1)
const withKeys = (...keys: string[]) =>
  `${smallest}encryption: { keys: [${keys.map((key) => `"${key}"`)}] }\n`

describe('encryption keys', () => {
  test.each([
    ['hex', bytes.toString('hex')],
    ['hex in capitals', bytes.toString('hex').toUpperCase()],
    ['base64', bytes.toString('base64')],
    ['base64 without padding', bytes.toString('base64').replace('=', '')],
    ['base64url', bytes.toString('base64url')],
  ])('may be written as %s', (_name, text) => {
    const config = load(withKeys(text, other.toString('hex')))
    expect(config.encryption.keys.map(decodeEncryptionKey)).toEqual([bytes, other])
  })

  test('may come from the environment', () => {
    const config = load(withKeys(`\${KEY}`), { KEY: bytes.toString('base64') })
    expect(config.encryption.keys.map(decodeEncryptionKey)).toEqual([bytes])
  })

  test.each([
    ['of 16 bytes', bytes.subarray(16).toString('base64')],
    ['of 31 bytes', bytes.subarray(1).toString('base64')],
    ['of 33 bytes', Buffer.concat([bytes, Buffer.of(1)]).toString('base64')],
    ['of 31 bytes in hex', bytes.subarray(1).toString('hex')],
    ['that is a passphrase', 'correct horse battery staple correct horse b'],
    ['that is empty', ''],
  ])('%s are refused by their place, and not shown', (_name, text) => {
    const fault =
      'encryption.keys[1]: expected a key of 32 bytes, as base64 or as 64 hex digits (sluice.yaml:8)'
    expect(faultsOf(withKeys(other.toString('hex'), text))).toEqual([fault])
    const hidden = faultsOf(withKeys(other.toString('hex'), `\${KEY}`), { KEY: text || ' ' })
    expect(hidden).toEqual([fault])
  })

  test('that come twice, in any form, are refused by their place', () => {
    const faults = faultsOf(withKeys(bytes.toString('hex'), bytes.toString('base64')))
    expect(faults).toEqual(['encryption.keys[1]: is the same key as encryption.keys[0] (sluice.yaml:8)'])
  })
})
