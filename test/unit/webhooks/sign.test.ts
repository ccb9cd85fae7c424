import fc from 'fast-check'
import { Webhook } from 'standardwebhooks'
import { describe, expect, it } from 'vitest'
import { decodeWebhookSecret, signWebhook, verifyWebhook } from '../../../webhooks/sign.ts'

const encodedSecret = `whsec_${Buffer.from('thirty-two bytes of a shared key').toString('base64')}`
const now = () => Math.floor(Date.now() / 1000)

function received(overrides: Partial<Parameters<typeof verifyWebhook>[0]> = {}) {
  const signature = signWebhook({
    secret: encodedSecret,
    id: 'whd_1',
    timestampSeconds: 1000,
    body: '{"a":1}',
  })
  const webhook = { secret: encodedSecret, id: 'whd_1', timestamp: '1000', signature, body: '{"a":1}' }
  return { ...webhook, nowSeconds: 1000, ...overrides }
}

describe('signWebhook', () => {
  it('signs any body as the reference implementation does', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 64 }),
        fc.string({ unit: 'grapheme', minLength: 1 }),
        (key, body) => {
          const secret = `whsec_${Buffer.from(key).toString('base64')}`
          const timestampSeconds = now()
          const oracle = new Webhook(secret).sign('whd_x', new Date(timestampSeconds * 1000), body)
          expect(signWebhook({ secret, id: 'whd_x', timestampSeconds, body })).toBe(oracle)
        },
      ),
    )
  })

  it('takes a secret without whsec_ as its own UTF-8 bytes', () => {
    const timestampSeconds = now()
    const signature = signWebhook({ secret: 'plain sécret', id: 'whd_1', timestampSeconds, body: '{}' })
    const headers = {
      'webhook-id': 'whd_1',
      'webhook-timestamp': String(timestampSeconds),
      'webhook-signature': signature,
    }
    const oracle = new Webhook(Buffer.from('plain sécret', 'utf8'), { format: 'raw' })
    expect(oracle.verify('{}', headers)).toEqual({})
  })

  it('signs with every secret while one is being replaced, so that either verifies', () => {
    const timestampSeconds = now()
    const other = `whsec_${Buffer.from('the key that comes next').toString('base64')}`
    const secret = [encodedSecret, other]
    const signature = signWebhook({ secret, id: 'whd_1', timestampSeconds, body: '{}' })
    const headers = {
      'webhook-id': 'whd_1',
      'webhook-timestamp': String(timestampSeconds),
      'webhook-signature': signature,
    }
    expect(signature.split(' ')).toHaveLength(2)
    for (const one of secret) expect(new Webhook(one).verify('{}', headers)).toEqual({})
  })

  it.each(['whsec_not base64!', 'whsec_YQ', 'whsec_', ''])('refuses the unusable secret %j', (secret) => {
    expect(() => decodeWebhookSecret(secret)).toThrow(/^webhook secret: /)
  })

  it('does not name a bad secret in its message', () => {
    expect(() => decodeWebhookSecret('whsec_my*key')).toThrow(expect.not.stringContaining('my*key'))
  })

  it('refuses to sign with no secret at all', () => {
    expect(() => signWebhook({ secret: [], id: 'a', timestampSeconds: 1, body: '' })).toThrow('none given')
  })
})

describe('verifyWebhook', () => {
  it('accepts a webhook that signWebhook signed', () => {
    expect(verifyWebhook(received())).toEqual({ ok: true })
  })

  it('accepts a webhook signed by the reference implementation', () => {
    const signature = new Webhook(encodedSecret).sign('whd_1', new Date(1_000_000), '{"a":1}')
    expect(verifyWebhook(received({ signature: `v1a,ignored ${signature}` }))).toEqual({ ok: true })
  })

  it.each([
    ['another body', { body: '{"a":2}' }],
    ['another id', { id: 'whd_2' }],
    ['another timestamp', { timestamp: '1001' }],
    ['another secret', { secret: 'whsec_YW5vdGhlcg==' }],
    ['a cut signature', { signature: 'v1,AAAA' }],
  ])('refuses %s', (_what, change) => {
    expect(verifyWebhook(received(change))).toEqual({ ok: false, reason: 'no signature matches' })
  })

  it.each(['id', 'timestamp', 'signature'])('refuses a webhook without its %s', (member) => {
    expect(verifyWebhook(received({ [member]: undefined }))).toMatchObject({ ok: false })
  })

  it.each([
    [1300, true],
    [1301, false],
    [700, true],
    [699, false],
  ])('at %i s of the receiver accepts a timestamp of 1000 s: %s', (nowSeconds, ok) => {
    expect(verifyWebhook(received({ nowSeconds })).ok).toBe(ok)
  })

  it.each(['1e3', '1000.0', ' 1000', '-1000', 'now'])('refuses the timestamp %j', (timestamp) => {
    expect(verifyWebhook(received({ timestamp })).ok).toBe(false)
  })
})
