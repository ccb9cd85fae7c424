import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodePayload, encodeArgument, encodePayload } from '../../../jobs/payload.ts'
import type { JsonObject } from '../../../lib/json.ts'

describe('payloads at rest', () => {
  it('come back as they went in', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
        // What JSON itself changes (-0) is no concern of the encoding.
        const given = JSON.parse(JSON.stringify(value)) as JsonObject
        expect(decodePayload(encodePayload(given))).toEqual(given)
      }),
    )
  })

  it('are the same bytes whether Redis is sent a text or a buffer', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue()), (value) => {
        const given = JSON.parse(JSON.stringify(value)) as JsonObject
        expect(Buffer.from(encodeArgument(given))).toEqual(encodePayload(given))
      }),
    )
    expect(encodeArgument({ a: 'ö'.repeat(100) })).toBeTypeOf('string')
    for (const one of [{ a: 'ö'.repeat(1100) }, { data: [{ embedding: 'AAAAAAAAAAA=' }] }]) {
      expect(encodeArgument(one)).toEqual(encodePayload(one))
    }
  })

  it('are readable JSON while they are small', () => {
    expect(encodePayload({ a: 'ö' }).toString()).toBe('{"a":"ö"}')
  })

  it('take less room when they are large, and come back whole', () => {
    const large = { text: 'So it goes. '.repeat(10_000) }
    const stored = encodePayload(large)
    expect(stored.length).toBeLessThan(2_000)
    expect(decodePayload(stored)).toEqual(large)
  })
})
