import fc from 'fast-check'
import { Webhook } from 'standardwebhooks'
import { describe, expect, it } from 'vitest'
import { verifyWebhook, WebhookVerificationError } from '../../../client/verify-webhook.ts'
import { signWebhook } from '../../../webhooks/sign.ts'

const secret = `whsec_${Buffer.from('thirty-two bytes of a shared key').toString('base64')}`
const other = `whsec_${Buffer.from('the key that comes next').toString('base64')}`
const body = '{"type":"job.completed","timestamp":"2026-11-23T10:00:02.000Z","data":{"id":"job_1"}}'
const now = 1_000_000

function headersOf(changes: Record<string, string | undefined> = {}, by: string | string[] = secret) {
  return {
    'webhook-id': 'whd_1',
    'webhook-timestamp': '1000',
    'webhook-signature': signWebhook({ secret: by, id: 'whd_1', timestampSeconds: 1000, body }),
    ...changes,
  }
}

describe('verifyWebhook', () => {
  it('accepts every webhook that the reference implementation has signed', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ minLength: 1, maxLength: 64 }),
        fc.string({ unit: 'grapheme' }),
        async (key, text) => {
          const encoded = `whsec_${Buffer.from(key).toString('base64')}`
          const payload = JSON.stringify({ text })
          const seconds = Math.floor(Date.now() / 1000)
          const headers = new Headers({
            'webhook-id': 'whd_x',
            'webhook-timestamp': String(seconds),
            'webhook-signature': new Webhook(encoded).sign('whd_x', new Date(seconds * 1000), payload),
          })
          expect(await verifyWebhook(payload, headers, encoded)).toEqual({ text })
          expect(await verifyWebhook(Buffer.from(payload), headers, encoded)).toEqual({ text })
          await expect(verifyWebhook(`${payload} `, headers, encoded)).rejects.toThrow('no signature matches')
        },
      ),
      { numRuns: 30 },
    )
  })

  it('takes any of several secrets and any of several signatures, of whsec_ or of plain text', async () => {
    const cases: [string | string[], string | string[]][] = [
      [secret, [other, secret]],
      [[other, secret], secret],
      ['plain sécret', 'plain sécret'],
    ]
    for (const [signedBy, known] of cases) {
      await expect(verifyWebhook(body, headersOf({}, signedBy), known, { now })).resolves.toMatchObject({
        type: 'job.completed',
        data: { id: 'job_1' },
      })
    }
  })

  it('reads headers of Node, in any case', async () => {
    const headers = Object.entries(headersOf()).map(([name, value]) => [name.toUpperCase(), value])
    await expect(verifyWebhook(body, Object.fromEntries(headers), secret, { now })).resolves.toBeDefined()
  })

  it.each<[string, Record<string, string | undefined>]>([
    ['a header is missing', { 'webhook-id': undefined }],
    ['the id is another', { 'webhook-id': 'whd_2' }],
    ['the time is another', { 'webhook-timestamp': '1001' }],
    ['the time is no number', { 'webhook-timestamp': '1000.0' }],
    [
      'the signature is of another version',
      { 'webhook-signature': headersOf()['webhook-signature']!.replace('v1', 'v2') },
    ],
    ['the signature is no base64', { 'webhook-signature': 'v1,***' }],
    ['the signature is empty', { 'webhook-signature': 'v1,' }],
    ['the signature is by another secret', headersOf({}, other)],
  ])('refuses a message when %s', async (_name, changes) => {
    await expect(verifyWebhook(body, headersOf(changes), secret, { now })).rejects.toThrow(
      WebhookVerificationError,
    )
  })

  it('refuses a genuine message that is older or newer than allowed', async () => {
    const verify = (at: number, toleranceSeconds?: number) =>
      verifyWebhook(body, headersOf(), secret, { now: at, ...(toleranceSeconds && { toleranceSeconds }) })
    await expect(verify(1_300_000)).resolves.toBeDefined()
    await expect(verify(1_300_001)).rejects.toThrow('more than 300 seconds away')
    await expect(verify(699_999)).rejects.toThrow('more than 300 seconds away')
    await expect(verify(1_005_001, 5)).rejects.toThrow('more than 5 seconds away')
  })

  it.each(['', 'whsec_', 'whsec_***'])(
    'throws at the secret %j, which is invalid, without showing it',
    async (bad) => {
      const verifying = verifyWebhook(body, headersOf(), [secret, bad], { now })
      await expect(verifying).rejects.toThrow(TypeError)
      await expect(verifying).rejects.not.toThrow('***')
    },
  )
})
