import { describe, expect, it } from 'vitest'
import { parseFairKey, withFairKey } from '../../../api/fair-key.ts'
import type { CreateJob } from '../../../api/jobs/create-schema.ts'
import { digestFairKey, fairKeyOfBody } from '../../../jobs/fair-key.ts'

const create = (fair_key?: string | null) =>
  ({ type: 'chat', body: {}, ...(fair_key === undefined ? {} : { fair_key }) }) as unknown as CreateJob

describe('a fair key', () => {
  it.each([
    [{ user: 'ann' }, 'ann'],
    [{ user: 'ann', safety_identifier: 'hash-1' }, 'hash-1'],
    [{ metadata: { user_id: 'u-1' } }, 'u-1'],
    [{ user: '', metadata: { user_id: 'u-1' } }, 'u-1'],
    [{ user: null, metadata: null }, undefined],
    [{ user: 7, metadata: { user_id: {} } }, undefined],
    [{}, undefined],
  ])('of the body %j is %j', (body, expected) => {
    expect(fairKeyOfBody(body)).toBe(expected)
  })

  it('that a body names at length is its digest', () => {
    const long = 'x'.repeat(257)
    expect(fairKeyOfBody({ user: long })).toMatch(/^sha256:[0-9a-f]{64}$/)
    expect(fairKeyOfBody({ user: long })).toBe(fairKeyOfBody({ user: long }))
    expect(fairKeyOfBody({ user: `${long}y` })).not.toBe(fairKeyOfBody({ user: long }))
  })

  it.each([
    ['ann@example.com', 'ann@example.com'],
    ['team 7/{x}:*', 'team 7/{x}:*'],
    [Buffer.from('zoë', 'utf8').toString('latin1'), 'zoë'],
    [undefined, undefined],
  ])('of the header %j is %j', (header, expected) => {
    expect(parseFairKey(header)).toBe(expected)
  })

  it.each([[''], ['a\u0000b'], ['x'.repeat(257)], [['a', 'b']]])('of the header %j is refused', (header) => {
    expect(() => parseFairKey(header)).toThrow('x-fair-key: expected 1 to 256 characters')
  })

  it('of the header comes after that of the job, null included', () => {
    expect(withFairKey(create(), 'h').fair_key).toBe('h')
    expect(withFairKey(create('own'), 'h').fair_key).toBe('own')
    expect(withFairKey(create(null), 'h').fair_key).toBeNull()
  })

  it('is stored in Redis as a digest, of a tenant and of the key of encryption', () => {
    const plain = { digests: (text: string): [string] => [text] }
    const keyed = { digests: (text: string): [string] => [`k1:${text}`] }
    const digests = [
      digestFairKey('s:{t:a}', 'ann', plain),
      digestFairKey('s:{t:b}', 'ann', plain),
      digestFairKey('s:{t:a}', 'bob', plain),
      digestFairKey('s:{t:a}', 'ann', keyed),
    ]
    expect(new Set(digests).size).toBe(4)
    for (const digest of digests) expect(digest).toMatch(/^[\w-]{16}$/)
    expect(digestFairKey('s:{t:a}', 'ann', plain)).toBe(digests[0])
  })
})
