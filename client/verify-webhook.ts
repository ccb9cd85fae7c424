import type { Job } from './openapi.ts'

/** The headers of a request, as `Headers` or as the plain object of Node's servers. */
export type WebhookHeaders = Headers | Record<string, string | string[] | undefined>

export type VerifyWebhookOptions = {
  /** How far the message's time may be from ours, in seconds; default 300. */
  toleranceSeconds?: number
  /** Our time, Unix ms; default: the clock. */
  now?: number
}

/** The content of a webhook. The result of a large job is left out: fetch it from its `result_url`, with your key. */
export type WebhookMessage = {
  type: 'job.completed' | 'job.failed' | 'job.cancelled'
  timestamp: string
  data: Job
}

/** A message that is not genuine, or too old. */
export class WebhookVerificationError extends Error {
  override readonly name = 'WebhookVerificationError'
}

const SECRET_PREFIX = 'whsec_'
const TOLERANCE_SECONDS = 300

/**
 * Returns the content of a webhook if it is genuine and recent (Standard Webhooks 1.0.0); otherwise it throws
 * WebhookVerificationError. `payload` is the body as it came: parsing and writing it again changes its bytes. You may
 * pass several secrets while one is being replaced. A message may come more than once: remember the `webhook-id`s
 * that you have handled.
 */
export async function verifyWebhook(
  payload: string | Uint8Array,
  headers: WebhookHeaders,
  secrets: string | readonly string[],
  options: VerifyWebhookOptions = {},
): Promise<WebhookMessage> {
  const id = readHeader(headers, 'webhook-id')
  const timestamp = readHeader(headers, 'webhook-timestamp')
  const given = readHeader(headers, 'webhook-signature')
  if (!/^\d{1,12}$/.test(timestamp)) {
    throw new WebhookVerificationError('webhook-timestamp is not in Unix seconds')
  }
  const body = typeof payload === 'string' ? new TextEncoder().encode(payload) : payload
  const signed = concat(new TextEncoder().encode(`${id}.${timestamp}.`), body)
  const signatures = given.split(' ').flatMap((one) => decodeSignature(one) ?? [])
  const keys = (typeof secrets === 'string' ? [secrets] : secrets).map(decodeSecret)
  if (!(await isSigned(signed, signatures, keys))) {
    throw new WebhookVerificationError('no signature matches')
  }
  const seconds = (options.now ?? Date.now()) / 1000
  const tolerance = options.toleranceSeconds ?? TOLERANCE_SECONDS
  if (Math.abs(seconds - Number(timestamp)) > tolerance) {
    throw new WebhookVerificationError(`webhook-timestamp is more than ${tolerance} seconds away`)
  }
  return JSON.parse(new TextDecoder().decode(body)) as WebhookMessage
}

async function isSigned(
  signed: Uint8Array<ArrayBuffer>,
  signatures: Uint8Array<ArrayBuffer>[],
  keys: Uint8Array<ArrayBuffer>[],
): Promise<boolean> {
  for (const bytes of keys) {
    const algorithm = { name: 'HMAC', hash: 'SHA-256' }
    const key = await crypto.subtle.importKey('raw', bytes, algorithm, false, ['verify'])
    for (const signature of signatures) {
      // WebCrypto compares in constant time.
      if (await crypto.subtle.verify('HMAC', key, signature, signed)) return true
    }
  }
  return false
}

function readHeader(headers: WebhookHeaders, name: string): string {
  const value =
    headers instanceof Headers
      ? headers.get(name)
      : Object.entries(headers).find(([given]) => given.toLowerCase() === name)?.[1]
  if (typeof value !== 'string' || value === '') throw new WebhookVerificationError(`${name} is missing`)
  return value
}

/** The bytes of `v1,<base64>`; null for other versions and for invalid texts. */
function decodeSignature(text: string): Uint8Array<ArrayBuffer> | null {
  return text.startsWith('v1,') ? decodeBase64(text.slice(3)) : null
}

/** `whsec_<base64>` stands for the decoded bytes, any other text for its own. The error never contains the secret. */
function decodeSecret(secret: string): Uint8Array<ArrayBuffer> {
  const key = secret.startsWith(SECRET_PREFIX)
    ? decodeBase64(secret.slice(SECRET_PREFIX.length))
    : new TextEncoder().encode(secret)
  if (key === null) throw new TypeError('webhook secret: what follows whsec_ is not base64')
  if (key.length === 0) throw new TypeError('webhook secret: empty')
  return key
}

function decodeBase64(text: string): Uint8Array<ArrayBuffer> | null {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0))
  } catch {
    return null
  }
}

function concat(first: Uint8Array, second: Uint8Array): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(first.length + second.length)
  whole.set(first)
  whole.set(second, first.length)
  return whole
}
