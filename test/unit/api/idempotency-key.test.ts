import { describe, expect, it } from 'vitest'
import { ApiError } from '../../../api/errors.ts'
import { parseIdempotencyKey } from '../../../api/idempotency-key.ts'

describe('an Idempotency-Key', () => {
  it('is absent where the header is', () => {
    expect(parseIdempotencyKey(undefined)).toBeNull()
  })

  it('is the same key quoted and bare', () => {
    expect(parseIdempotencyKey('order-17')).toBe('order-17')
    expect(parseIdempotencyKey('"order-17"')).toBe('order-17')
  })

  it('unescapes quotes and backslashes of a quoted string', () => {
    expect(parseIdempotencyKey(String.raw`"a\"b\\c"`)).toBe(String.raw`a"b\c`)
  })

  it('has up to 255 characters, not counting the quotes', () => {
    const longest = 'k'.repeat(255)
    expect(parseIdempotencyKey(`"${longest}"`)).toBe(longest)
    expect(() => parseIdempotencyKey(`${longest}k`)).toThrow(/more than 255/)
  })

  it.each(['', '""', '"open', '"a"b"', String.raw`"a\n"`, 'tab\there', 'naïve'])(
    'is refused as %j',
    (header) => {
      expect(() => parseIdempotencyKey(header)).toThrow(ApiError)
    },
  )
})
