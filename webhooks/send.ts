import Bottleneck from 'bottleneck'
import { request } from 'undici'
import { AddressBlockedError, type AddressGuard } from './address-guard.ts'
import { readRetryAfter } from './retry-after.ts'
import { signWebhook } from './sign.ts'

/** Bytes of an answer's body that are read, so that the connection can be reused; a longer body is cut off. */
const MAX_ANSWER_BYTES = 64 * 1024

type WebhookToSend = {
  /** Becomes `webhook-id`: the same over all retries, so that receivers can drop repetitions. */
  id: string
  url: string
  body: string
  /** Its tenant: each tenant has its own pace towards a host, so that none waits for another. */
  tenant?: string
  /** W3C `traceparent` to send along; none unless given. */
  trace?: string
  /** Aborts the request; the outcome is then not delivered, with the error `aborted`. */
  signal?: AbortSignal
}

export type SendOutcome = {
  /** True for a 2xx within the time-out. */
  delivered: boolean
  /** The receiver answered 410: it wants no more. */
  gone: boolean
  /** HTTP status, null when no answer came. */
  status: number | null
  /** What went wrong, for the client that asked for the webhook; null when delivered. */
  error: string | null
  latencyMs: number
  /** How long the receiver asked for no webhooks, ms; null: it did not. */
  retryAfterMs: number | null
}

export type WebhookSender = {
  /** Signs and sends one webhook. Failures are outcomes, never exceptions. */
  send(webhook: WebhookToSend): Promise<SendOutcome>
  close(): Promise<void>
}

export type WebhookSenderOptions = {
  guard: AddressGuard
  /** The secrets that sign, read at each sending so that a rotation needs no restart. */
  secrets: () => readonly string[]
  /** Unix milliseconds, which receivers compare with their own clock. */
  now: () => number
  /** Our version, for the user agent. */
  version: string
  timeoutMs?: number
  /** Pacing of one tenant towards one receiving host, for this process. */
  pacing?: { maxConcurrent: number; minTimeMs: number; idleMs: number }
}

/** Sends webhooks, never following redirects and never more at once of a tenant to one host than its pacing allows. */
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
    // Bottleneck keeps its limiters in a plain object, where a host named `constructor` would find a member.
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
      // The status has decided; how the body ends changes nothing.
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

/** Only the kind of failure: system messages name addresses, which the receiver must not learn. */
function describeError(error: unknown): string {
  if (error instanceof AddressBlockedError) return 'url must lead to a public address'
  if (error instanceof Error && error.message.startsWith('webhook secret:')) return error.message
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error'
  return `connection failed: ${code}`
}
