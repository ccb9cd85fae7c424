import type { Feedback } from './provider.ts'
import { capWait, parseWait } from './waits.ts'

/** The part of `Headers` that is needed: a case-insensitive lookup, null when absent. */
export type HeaderReader = { get(name: string): string | null }

const DECIMAL = /^\d+(?:\.\d+)?$/

/** What a limit counts, as header names spell it. */
const COUNTED = ['requests', 'tokens', 'input-tokens', 'output-tokens'] as const

/** Headers with the reset time of a limit, each with the header of what remains. */
const RESETS: [reset: string, remaining: string][] = [
  ...COUNTED.map((name): [string, string] => [
    `anthropic-ratelimit-${name}-reset`,
    `anthropic-ratelimit-${name}-remaining`,
  ]),
  ...COUNTED.map((name): [string, string] => [`x-ratelimit-reset-${name}`, `x-ratelimit-remaining-${name}`]),
  ...['requests-minute', 'requests-day', 'tokens-minute', 'tokens-day'].map((name): [string, string] => [
    `x-ratelimit-reset-${name}`,
    `x-ratelimit-remaining-${name}`,
  ]),
  ['x-ratelimit-reset', 'x-ratelimit-remaining'],
  ['x-rate-limit-reset', 'x-rate-limit-remaining'],
  ['x-ratelimit-reset-after', 'x-ratelimit-remaining'],
  ['ratelimit-reset', 'ratelimit-remaining'],
  ['ratelimitbysize-reset', 'ratelimitbysize-remaining'],
]

/**
 * Reads the limits in an answer's headers. Sources: OpenAI `x-ratelimit-{limit,remaining}-{requests,tokens}` (Azure and most compatible
 * servers send the same), Anthropic `anthropic-ratelimit-{requests,tokens}-{limit,remaining}`, RFC 9110 `retry-after` (seconds, also with a
 * fraction, or a date), and the more precise `retry-after-ms` of OpenAI and Azure, which takes precedence. A wait of 0 counts as none.
 * Unreadable and negative values are ignored.
 *
 * @param now unix milliseconds, for dates
 */
export function readFeedback(headers: HeaderReader, now: number): Feedback {
  const feedback: Feedback = {}
  const limitRequests = readLimit(headers, 'x-ratelimit-limit-requests', 'anthropic-ratelimit-requests-limit')
  if (limitRequests !== undefined) feedback.limitRequests = limitRequests
  const limitTokens = readLimit(headers, 'x-ratelimit-limit-tokens', 'anthropic-ratelimit-tokens-limit')
  if (limitTokens !== undefined) feedback.limitTokens = limitTokens
  const remainingRequests = readCount(
    headers,
    'x-ratelimit-remaining-requests',
    'anthropic-ratelimit-requests-remaining',
  )
  if (remainingRequests !== undefined) feedback.remainingRequests = remainingRequests
  const remainingTokens = readCount(
    headers,
    'x-ratelimit-remaining-tokens',
    'anthropic-ratelimit-tokens-remaining',
  )
  if (remainingTokens !== undefined) feedback.remainingTokens = remainingTokens
  const retryAfterMs = readRetryAfter(headers, now)
  if (retryAfterMs !== undefined) feedback.retryAfterMs = retryAfterMs
  return feedback
}

/**
 * Returns when an exhausted limit resets, in milliseconds from now, for a 429 without `retry-after`. Undefined when no limit is exhausted
 * or no time is given. A limit that does not report what remains is used only where no limit is known to be exhausted. Forms: RFC 3339
 * (Anthropic), `6m0s`, `1.5s`, seconds, Unix time.
 *
 * @param now unix milliseconds
 */
export function readReset(headers: HeaderReader, now: number): number | undefined {
  let used: number | undefined
  let untold: number | undefined
  for (const [resetName, remainingName] of RESETS) {
    const wait = parseWait(headers.get(resetName) ?? undefined, 1000, now)
    if (wait === undefined) continue
    const remaining = parseDecimal(headers.get(remainingName))
    if (remaining === 0) used = Math.max(used ?? 0, wait)
    else if (remaining === undefined) untold = Math.max(untold ?? 0, wait)
  }
  return capWait(used ?? untold)
}

function readCount(headers: HeaderReader, name: string, otherName: string): number | undefined {
  const value = parseDecimal(headers.get(name) ?? headers.get(otherName))
  return value === undefined || value > Number.MAX_SAFE_INTEGER ? undefined : Math.floor(value)
}

/** A limit of 0 means "unknown" (some gateways send it): with a real limit of 0 the call would have been refused. */
function readLimit(headers: HeaderReader, name: string, otherName: string): number | undefined {
  const value = readCount(headers, name, otherName)
  return value === 0 ? undefined : value
}

function readRetryAfter(headers: HeaderReader, now: number): number | undefined {
  for (const name of ['retry-after-ms', 'x-ms-retry-after-ms']) {
    const milliseconds = capWait(parseDecimal(headers.get(name)))
    if (milliseconds !== undefined) return milliseconds
  }
  const text = headers.get('retry-after') ?? undefined
  // A repeated header arrives as a comma-separated list. A date has a comma too.
  const list = text !== undefined && /^[\d., ]+$/.test(text) ? text.split(',') : [text]
  const waits = list.map((one) => parseWait(one, 1000, now) ?? 0)
  return capWait(Math.max(...waits))
}

function parseDecimal(text: string | null): number | undefined {
  const trimmed = text?.trim()
  return trimmed && DECIMAL.test(trimmed) ? Number(trimmed) : undefined
}
