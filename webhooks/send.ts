import Bottleneck from 'bottleneck'
import { request } from 'undici'
import { AddressBlockedError, type AddressGuard } from './address-guard.ts'
import { readRetryAfter } from './retry-after.ts'
import { signWebhook } from './sign.ts'

/** Bytes of an answer's body that are read, so that the connection can be reused. A longer body is cut off. */
const MAX_ANSWER_BYTES = 64 * 1024

type WebhookToSend = {
  /** Sent as `webhook-id`: the same in all attempts, so that receivers can drop duplicates. */
  id: string
  url: string
  body: string
  /** Each tenant has its own pacing for a host, so that no tenant waits for another. */
  tenant?: string
  /** W3C `traceparent` to send; none by default. */
  trace?: string
  /** Aborts the request. The outcome is then not delivered, with the error `aborted`. */
  signal?: AbortSignal
}

export type SendOutcome = {
  /** True for a 2xx within the timeout. */
  delivered: boolean
  /** The receiver answered 410: it wants no more attempts. */
  gone: boolean
  /** HTTP status; null when there was no answer. */
  status: number | null
  /** The error, for the client that asked for the webhook; null when delivered. */
  error: string | null
  latencyMs: number
  /** How long the receiver asked to wait, ms; null: it did not ask. */
  retryAfterMs: number | null
}

export type WebhookSender = {
  /** Signs and sends one webhook. Failures are returned, never thrown. */
  send(webhook: WebhookToSend): Promise<SendOutcome>
  close(): Promise<void>
}

export type WebhookSenderOptions = {
  guard: AddressGuard
  /** The signing secrets, read before each send, so that a rotation needs no restart. */
  secrets: () => readonly string[]
  /** Unix milliseconds. Receivers compare them with their own clock. */
  now: () => number
  /** Our version, for the `user-agent`. */
  version: string
  timeoutMs?: number
  /** Limits of one tenant for one receiving host, in this process. */
  pacing?: { maxConcurrent: number; minTimeMs: number; idleMs: number }
}

/** Creates a sender that follows no redirects, and sends to one host no more of a tenant's webhooks at a time than its pacing allows. */
export function createWebhookSender(options: WebhookSenderOptions): WebhookSender {
  const { guard, secrets, now, version, timeoutMs = 15_000 } = options
  const pacing = options.pacing ?? { maxConcurrent: 8, minTimeMs: 10, idleMs: 60_000 }
  const dispatcher = guard.dispatcher()
  let closing: Promise<void> | null = null
  const hosts = new Bottleneck.Group({
    maxConcurrent: pacing.maxConcurrent,
    minTime: pacing.minTimeMs,
    timeout: pacing.idleMs,
  })

  async function send(webhook: WebhookToSend): Promise<SendOutcome> {
    const check = guard.checkUrl(webhook.url)
    if (!check.ok) return failure(`url ${check.reason}`, 0)
    // The prefix is needed: Bottleneck keeps its limiters in a plain object, where a host named `constructor` would find an inherited
    // member.
    const limiter = hosts.key(`host:${new URL(webhook.url).hostname} ${webhook.tenant ?? ''}`)
    try {
      return await limiter.schedule(() => post(webhook))
    } catch {
      return failure('aborted', 0)
    }
  }

  async function post(webhook: WebhookToSend): Promise<SendOutcome> {
    const since = performance.now()
    const timeout = AbortSignal.timeout(timeoutMs)
    const signal = webhook.signal ? AbortSignal.any([timeout, webhook.signal]) : timeout
    try {
      await guard.checkName(webhook.url)
      const answer = await request(webhook.url, {
        method: 'POST',
        dispatcher,
        signal,
        headersTimeout: timeoutMs,
        bodyTimeout: timeoutMs,
        headers: headersOf(webhook, Math.floor(now() / 1000)),
        body: webhook.body,
      })
      const latencyMs = performance.now() - since
      // The status decides. How the body ends changes nothing.
      await answer.body.dump({ limit: MAX_ANSWER_BYTES, signal }).catch(() => {})
      return outcomeOf(answer.statusCode, latencyMs, readRetryAfter(answer.headers['retry-after'], now()))
    } catch (error) {
      const latencyMs = performance.now() - since
      if (webhook.signal?.aborted) return failure('aborted', latencyMs)
      if (timeout.aborted) return failure(`no answer within ${timeoutMs} ms`, latencyMs)
      return failure(describeError(error), latencyMs)
    }
  }

  function headersOf(webhook: WebhookToSend, timestampSeconds: number): Record<string, string> {
    const { id, body, trace } = webhook
    return {
      'content-type': 'application/json',
      'user-agent': `Sluice/${version}`,
      'webhook-id': id,
      'webhook-timestamp': String(timestampSeconds),
      'webhook-signature': signWebhook({ secret: secrets(), id, timestampSeconds, body }),
      ...(trace === undefined ? {} : { traceparent: trace }),
    }
  }

  function close(): Promise<void> {
    closing ??= shutDown()
    return closing
  }

  async function shutDown(): Promise<void> {
    const stopped = hosts.limiters().map(({ limiter }) => limiter.stop({ dropWaitingJobs: true }))
    await Promise.all(stopped)
    await dispatcher.destroy()
  }

  return { send, close }
}

function outcomeOf(status: number, latencyMs: number, asked: number | null): SendOutcome {
  const delivered = status >= 200 && status < 300
  const redirect = status >= 300 && status < 400
  const error = redirect ? `answered ${status}; redirects are not followed` : `answered ${status}`
  const retryAfterMs = delivered ? null : asked
  return { delivered, gone: status === 410, status, error: delivered ? null : error, latencyMs, retryAfterMs }
}

function failure(error: string, latencyMs: number): SendOutcome {
  return { delivered: false, gone: false, status: null, error, latencyMs, retryAfterMs: null }
}

/** Returns only the kind of failure: system messages contain addresses, which the client must not learn. */
function describeError(error: unknown): string {
  if (error instanceof AddressBlockedError) return 'url must lead to a public address'
  if (error instanceof Error && error.message.startsWith('webhook secret:')) return error.message
  if (error instanceof Error && error.name === 'HTTPParserError') return 'the answer is not valid HTTP'
  const code = error instanceof Error && 'code' in error && error.code !== undefined ? error.code : null
  return `connection failed: ${code === null ? 'unknown error' : String(code)}`
}
