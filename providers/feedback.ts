import type { Feedback } from './provider.ts'
import { capWait, parseWait } from './waits.ts'

/** What is needed of `Headers`: a case-insensitive look-up, null when absent. */
export type HeaderReader = { get(name: string): string | null }

const DECIMAL = /^\d+(?:\.\d+)?$/

/** What a limit counts, as the names of the headers about it have it. */
const COUNTED = ['requests', 'tokens', 'input-tokens', 'output-tokens'] as const

/** Headers that say when a limit is whole again, and those that say what remains of it. */
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
 * Reads what an answer says about limits. Sources: OpenAI `x-ratelimit-{limit,remaining}-{requests,tokens}`
 * (Azure and most compatible servers send the same), Anthropic `anthropic-ratelimit-{requests,tokens}-{limit,
 * remaining}`, RFC 9110 `retry-after` (seconds, fractions tolerated, or a date) and `retry-after-ms`, the more
 * exact one of OpenAI and Azure, which wins. A wait of 0 is none given. Anything unreadable or negative is left out,
 * never guessed.
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
 * When what is used up comes back, in milliseconds from now; undefined when nothing is, or it is not told. For a 429
 * that names no time. Of a limit that does not say what remains, its reset is taken, but only where none is known to
 * be used up. Forms: RFC 3339 (Anthropic), `6m0s`, `1.5s`, seconds, Unix time.
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

/** A limit of 0 means "unknown" (some gateways send it): a lane with a real limit of 0 would not have answered. */
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
  // A header that came several times comes as a list. A date has a comma as well.
  const list = text !== undefined && /^[\d., ]+$/.test(text) ? text.split(',') : [text]
  const waits = list.map((one) => parseWait(one, 1000, now) ?? 0)
  return capWait(Math.max(...waits))
}

function parseDecimal(text: string | null): number | undefined {
  const trimmed = text?.trim()
  return trimmed && DECIMAL.test(trimmed) ? Number(trimmed) : undefined
}
