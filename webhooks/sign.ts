import { createHmac, timingSafeEqual } from 'node:crypto'

const SECRET_PREFIX = 'whsec_'
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/** How far a webhook's timestamp may be from the receiver's clock, in seconds (Standard Webhooks 1.0.0). */
const TOLERANCE_SECONDS = 300

export type WebhookToSign = {
  /** One secret, or several during a rotation: each adds a signature, and any of them verifies. */
  secret: string | readonly string[]
  /** The `webhook-id` header. */
  id: string
  /** The `webhook-timestamp` header: Unix seconds. */
  timestampSeconds: number
  /** The exact bytes of the request body, as text. */
  body: string
}

/**
 * The key bytes of a secret: the decoded bytes of `whsec_<base64>`, or the UTF-8 bytes of any other text. Throws when the secret is empty
 * or the part after `whsec_` is not base64. The message never contains the secret.
 */
export function decodeWebhookSecret(secret: string): Buffer {
  const encoded = secret.startsWith(SECRET_PREFIX) ? secret.slice(SECRET_PREFIX.length) : null
  if (encoded !== null && !BASE64.test(encoded)) {
    throw new Error('webhook secret: what follows whsec_ is not base64')
  }
  const key = encoded === null ? Buffer.from(secret, 'utf8') : Buffer.from(encoded, 'base64')
  if (key.length === 0) throw new Error('webhook secret: empty')
  return key
}

/**
 * The `webhook-signature` header: `v1,<base64 HMAC-SHA256 of "id.timestamp.body">` for each secret, separated by spaces. Source: Standard
 * Webhooks 1.0.0, "Signature scheme".
 */
export function signWebhook(webhook: WebhookToSign): string {
  const secrets = typeof webhook.secret === 'string' ? [webhook.secret] : webhook.secret
  if (secrets.length === 0) throw new Error('webhook secret: none given')
  const content = `${webhook.id}.${webhook.timestampSeconds}.${webhook.body}`
  return secrets
    .map(
      (secret) => `v1,${createHmac('sha256', decodeWebhookSecret(secret)).update(content).digest('base64')}`,
    )
    .join(' ')
}

export type ReceivedWebhook = {
  secret: string | readonly string[]
  /** The values of the three headers; undefined where one is missing. */
  id: string | undefined
  timestamp: string | undefined
  signature: string | undefined
  body: string
  /** The receiver's clock, Unix seconds. */
  nowSeconds: number
}

export type Verification = { ok: true } | { ok: false; reason: string }

/** Verifies a webhook as a receiver does: first the signature, then the age (±5 minutes). */
export function verifyWebhook(received: ReceivedWebhook): Verification {
  const { id, timestamp, signature } = received
  if (!id || !timestamp || !signature) return { ok: false, reason: 'a webhook header is missing' }
  if (!/^\d{1,12}$/.test(timestamp)) return { ok: false, reason: 'webhook-timestamp is not in Unix seconds' }
  const timestampSeconds = Number(timestamp)
  const expected = signWebhook({ secret: received.secret, id, timestampSeconds, body: received.body }).split(
    ' ',
  )
  const given = signature.split(' ')
  if (!expected.some((one) => given.some((other) => equalText(one, other)))) {
    return { ok: false, reason: 'no signature matches' }
  }
  if (Math.abs(received.nowSeconds - timestampSeconds) > TOLERANCE_SECONDS) {
    return { ok: false, reason: 'webhook-timestamp is more than 5 minutes away' }
  }
  return { ok: true }
}

/** Compares in constant time: the time does not reveal how many characters match. */
function equalText(one: string, other: string): boolean {
  const left = Buffer.from(one)
  const right = Buffer.from(other)
  return left.length === right.length && timingSafeEqual(left, right)
}
