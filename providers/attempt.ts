import type { Dispatcher } from 'undici'
import { AnswerTooLargeError } from './answer-bounds.ts'
import { type AnswerOutcome, aborted, brokenAnswer, type FailureVerdict, timedOut } from './classify.ts'
import { classifyConnectionError, isStaleConnection, isSurelyUnread } from './connection-error.ts'
import { type HeaderReader, readFeedback, readReset } from './feedback.ts'
import type { Feedback, Provider, ProviderAnswer, ProviderRequest } from './provider.ts'
import { readUsage } from './read-usage.ts'
import { redact, redactProviderError } from './redact.ts'
import { RefusedError, type UpstreamResponse } from './transport.ts'
import { judgeRefusal } from './verdict.ts'
import { capWait } from './waits.ts'

/** One request upstream: how to send it, and how to read its answer. */
export type Exchange = {
  /** @throws RefusedError for an error status; the connection's error when there is no answer */
  send(signal: AbortSignal): Promise<UpstreamResponse>
  read(response: UpstreamResponse): Promise<AnswerOutcome>
}

/** Sends one request within its timeout and turns every outcome into an answer. Never throws. */
export type Attempt = (request: ProviderRequest, exchange: Exchange) => Promise<ProviderAnswer>

/** The longest timer that Node supports. A longer one fires at once. */
const MAX_TIMER_MS = 2 ** 31 - 1

/** Shorter strings are not keys, and would occur in ordinary words. */
const SHORTEST_SECRET = 8

/**
 * Creates what all adapters share: timeout and abort, the class of a failure, redaction, and feedback from headers.
 *
 * @param options.secrets keys and header values that no message may show
 * @param options.now unix milliseconds
 */
export function createAttempt(options: {
  defaultTimeoutMs: number
  secrets: readonly string[]
  now: () => number
}): Attempt {
  const { defaultTimeoutMs, now } = options
  const secrets = options.secrets.filter((secret) => secret.length >= SHORTEST_SECRET)

  function fail(
    verdict: FailureVerdict,
    status: number | null,
    headers: HeaderReader | null,
  ): ProviderAnswer {
    const { retryAfterMs, providerError, ...rest } = verdict
    const feedback: Feedback = headers ? readFeedback(headers, now()) : {}
    const reset = headers && verdict.class === 'throttled' ? readReset(headers, now()) : undefined
    const wait = capWait(feedback.retryAfterMs ?? retryAfterMs ?? reset)
    if (wait !== undefined) feedback.retryAfterMs = wait
    return {
      ok: false,
      ...rest,
      message: redact(verdict.message, secrets),
      status,
      feedback,
      ...(providerError ? { providerError: redactProviderError(providerError, secrets) } : {}),
    }
  }

  return async function attempt(request, exchange) {
    let response: UpstreamResponse | null = null
    if (request.signal.aborted) return fail(aborted(false), null, null)

    const controller = new AbortController()
    let isTimeUp = false
    const timeoutMs = request.timeoutMs > 0 ? request.timeoutMs : defaultTimeoutMs
    const timer = setTimeout(
      () => {
        isTimeUp = true
        stop()
      },
      Math.min(timeoutMs, MAX_TIMER_MS),
    )
    function stop(): void {
      controller.abort()
      response?.stream.destroy()
    }
    request.signal.addEventListener('abort', stop, { once: true })

    try {
      response = await sendUntilRead(exchange, controller.signal)
      const outcome = await exchange.read(response)
      // The call was stopped before the answer turned out bad: that is not the provider's fault.
      if (!outcome.ok && isTimeUp) return fail(timedOut(), response.status, response.headers)
      if (!outcome.ok && request.signal.aborted) return fail(aborted(true), response.status, response.headers)
      if (!outcome.ok) return fail(outcome.verdict, response.status, response.headers)
      return {
        ok: true,
        status: response.status,
        body: outcome.body,
        usage: readUsage(outcome.body),
        ...(outcome.media === undefined ? {} : { media: outcome.media }),
        feedback: readFeedback(response.headers, now()),
      }
    } catch (error) {
      if (response) response.stream.destroy()
      if (error instanceof RefusedError) {
        if (request.signal.aborted) return fail(aborted(true), error.status, null)
        return fail(judgeRefusal(error.status, error.error, request.type, now()), error.status, error.headers)
      }
      const status = response?.status ?? null
      const headers = response?.headers ?? null
      if (isTimeUp) return fail(timedOut(), status, headers)
      if (request.signal.aborted) return fail(aborted(true), status, headers)
      if (error instanceof AnswerTooLargeError) return fail(answerTooLarge(error), status, headers)
      const isStale = response === null && isStaleConnection(error)
      const verdict = classifyConnectionError(error)
      return fail(isStale ? { ...verdict, staleConnection: true } : verdict, status, headers)
    } finally {
      clearTimeout(timer)
      request.signal.removeEventListener('abort', stop)
    }
  }
}

/** Creates a provider whose `close` waits for its calls, then ends their connections. */
export function createAdapter(deps: {
  name: string
  dispatcher: Dispatcher
  answerCall: (request: ProviderRequest) => Promise<ProviderAnswer>
  countTokens: ((request: Omit<ProviderRequest, 'type'>) => Promise<ProviderAnswer>) | null
}): Provider {
  const { countTokens } = deps
  const pending = new Set<Promise<ProviderAnswer>>()
  function track(call: Promise<ProviderAnswer>): Promise<ProviderAnswer> {
    const answer = call.finally(() => pending.delete(answer))
    pending.add(answer)
    return answer
  }

  return {
    name: deps.name,
    call: (request) => track(deps.answerCall(request)),
    countTokens: countTokens && ((request) => track(countTokens(request))),
    async close() {
      // A call may not have reached the dispatcher yet, and the dispatcher refuses calls after its close.
      await Promise.allSettled(pending)
      await deps.dispatcher.close()
    },
  }
}

/**
 * Sends the request. Sends it again if an idle connection turned out closed before it had taken the request: then nobody can have read it.
 */
async function sendUntilRead(exchange: Exchange, signal: AbortSignal): Promise<UpstreamResponse> {
  try {
    return await exchange.send(signal)
  } catch (error) {
    if (signal.aborted || !isSurelyUnread(error)) throw error
    return exchange.send(signal)
  }
}

function answerTooLarge(error: AnswerTooLargeError): FailureVerdict {
  return { ...brokenAnswer('answer_too_large', error.message), class: 'final' }
}
