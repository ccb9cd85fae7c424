import { describe, expect, it } from 'vitest'
import { createSealer, isSealed, keyIdOf, type SealedPlace, UnreadableError } from '../../../lib/sealer.ts'

const first = Buffer.alloc(32, 1)
const second = Buffer.alloc(32, 2)
const place: SealedPlace = { root: 'sluice:{t:acme}', purpose: 'result', id: 'job_1', content: 'abc' }
const text = Buffer.from('what nobody else may read')

function open(...keys: Buffer[]) {
  const clock = { now: 1_700_000_000_000 }
  return { clock, sealer: createSealer({ keys, now: () => clock.now }) }
}

function unreadable(action: () => unknown): string | null {
  try {
    action()
  } catch (error) {
    if (error instanceof UnreadableError) return error.missingKey
    throw error
  }
  throw new Error('it could be opened')
}

describe('an envelope', () => {
  it('opens in its place, also in another process, and holds nothing of the content', () => {
    const envelope = open(first).sealer.seal(place, text)!
    expect(isSealed(envelope)).toBe(true)
    expect(envelope.includes(text)).toBe(false)
    expect(open(first).sealer.open(place, envelope)).toEqual(text)
  })

  it('is different each time, and holds also empty and long texts', () => {
    const { sealer } = open(first)
    expect(sealer.seal(place, text)).not.toEqual(sealer.seal(place, text))
    for (const content of [Buffer.alloc(0), Buffer.alloc(3_000_000, 5)]) {
      expect(sealer.open(place, sealer.seal(place, content)!).equals(content)).toBe(true)
    }
  })

  it.each([
    ['another tenant', { root: 'sluice:{t:other}' }],
    ['another purpose', { purpose: 'body' }],
    ['another job', { id: 'job_2' }],
    ['another request', { content: 'abd' }],
    ['members that only together are the same', { purpose: 'resul', content: 'tabc' }],
  ])('does not open for %s', (_name, members) => {
    const { sealer } = open(first)
    const envelope = sealer.seal(place, text)!
    expect(unreadable(() => sealer.open({ ...place, ...members }, envelope))).toBeNull()
  })

  it('opens for any job where any may have been meant, but confirms no other than its own', () => {
    const { sealer } = open(first)
    const envelope = sealer.seal(place, text)!
    expect(sealer.open({ ...place, id: null }, envelope)).toEqual(text)
    const other = sealer.seal({ ...place, id: 'job_2' }, text)!
    const renamed = Buffer.concat([envelope.subarray(0, 33), other.subarray(33, 49), envelope.subarray(49)])
    expect(unreadable(() => sealer.open({ ...place, id: 'job_2' }, renamed))).toBeNull()
    expect(unreadable(() => sealer.open({ ...place, id: null }, renamed))).toBeNull()
    expect(envelope.includes('job_1')).toBe(false)
  })

  it('does not open when any bit of it was changed, or its end is missing', () => {
    const { sealer } = open(first)
    const envelope = sealer.seal(place, text)!
    for (let index = 0; index < envelope.length; index++) {
      const changed = Buffer.from(envelope)
      changed[index]! ^= 1 << (index % 8)
      expect(() => sealer.open({ ...place, id: null }, changed), `byte ${index}`).toThrow(UnreadableError)
      expect(() => sealer.open(place, envelope.subarray(0, index)), `${index} bytes`).toThrow(UnreadableError)
    }
  })

  it('names the key that is missing by its id, and shows nothing of it', () => {
    const envelope = open(first).sealer.seal(place, text)!
    expect(unreadable(() => open(second).sealer.open(place, envelope))).toBe(keyIdOf(first))
    expect(unreadable(() => open().sealer.open(place, envelope))).toBe(keyIdOf(first))
    expect(keyIdOf(first)).toMatch(/^[0-9a-f]{8}$/)
  })

  it('is made with a fresh key after so many of them', () => {
    const sealer = createSealer({ keys: [first], now: () => 0, messagesPerKey: 3 })
    const envelopes = Array.from({ length: 7 }, () => sealer.seal(place, text)!)
    const salts = envelopes.map((envelope) => envelope.toString('hex', 5, 21))
    expect([...new Set(salts)]).toEqual([salts[0], salts[3], salts[6]])
    for (const envelope of envelopes) expect(open(first).sealer.open(place, envelope)).toEqual(text)
  })
})

describe('without a key', () => {
  it('nothing is sealed, and digests are not keyed', () => {
    const { sealer } = open()
    expect(sealer.seal(place, text)).toBeNull()
    expect(sealer.digests('abc')).toEqual(['abc'])
  })
})

describe('digests', () => {
  it('depend on the key, the one to be written first, and those that may have been written before behind', () => {
    const [written, older, plain] = open(second, first).sealer.digests('abc')
    expect([older]).toEqual(open(first).sealer.digests('abc').slice(0, 1))
    expect(plain).toBe('abc')
    expect(new Set([written, older, plain]).size).toBe(3)
    expect(written).toMatch(/^[0-9a-f]{64}$/)
  })
})

describe('rotation', () => {
  const keyOf = (envelope: Buffer | null) => envelope?.toString('hex', 1, 5) ?? null

  it('takes a new first key for what comes after 5 s, and opens what was sealed before until its key is gone', () => {
    const { sealer, clock } = open(first)
    const old = sealer.seal(place, text)!
    sealer.replace([second, first])
    expect(keyOf(sealer.seal(place, text))).toBe(keyIdOf(first))
    expect(sealer.open(place, open(second).sealer.seal(place, text)!)).toEqual(text)
    clock.now += 4_999
    sealer.replace([second, first])
    expect(keyOf(sealer.seal(place, text))).toBe(keyIdOf(first))
    clock.now += 1
    expect(keyOf(sealer.seal(place, text))).toBe(keyIdOf(second))
    expect(sealer.digests('abc')).toEqual(open(second, first).sealer.digests('abc'))
    expect(sealer.open(place, old)).toEqual(text)
    sealer.replace([second])
    expect(unreadable(() => sealer.open(place, old))).toBe(keyIdOf(first))
  })

  it('does not wait for a key that cannot be used any more', () => {
    const { sealer } = open(first)
    sealer.replace([second])
    expect(keyOf(sealer.seal(place, text))).toBe(keyIdOf(second))
  })

  it('begins to seal 5 s after the first key came', () => {
    const { sealer, clock } = open()
    sealer.replace([first])
    expect(sealer.seal(place, text)).toBeNull()
    clock.now += 5_000
    expect(keyOf(sealer.seal(place, text))).toBe(keyIdOf(first))
  })

  it('goes on with its key when the new one is withdrawn', () => {
    const { sealer, clock } = open(first)
    sealer.replace([second, first])
    sealer.replace([first])
    clock.now += 10_000
    expect(keyOf(sealer.seal(place, text))).toBe(keyIdOf(first))
  })
})
