import type { Feedback } from './provider.ts'

/** What is needed of `Headers`: a case-insensitive look-up, null when absent. */
export type HeaderReader = { get(name: string): string | null }

/** No provider pauses longer; a larger value is a mistake or an attack, and would park a lane for good. */
const MAX_RETRY_AFTER_MS = 24 * 60 * 60 * 1000

const DECIMAL = /^\d+(?:\.\d+)?$/

/**
 * Reads what an answer says about limits. Sources: OpenAI `x-ratelimit-{limit,remaining}-{requests,tokens}`
 * (Azure and most compatible servers send the same), Anthropic `anthropic-ratelimit-{requests,tokens}-{limit,
 * remaining}`, RFC 9110 `retry-after` (seconds, fractions tolerated, or a date) and `retry-after-ms`, the more
 * exact one of OpenAI and Azure, which wins. Anything unreadable or negative is left out, never guessed.
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
 * that names no time. Anthropic: `anthropic-ratelimit-*-reset`, RFC 3339 (Anthropic, Rate limits).
 *
 * @param now unix milliseconds
 */
export function readReset(headers: HeaderReader, now: number): number | undefined {
  let latest: number | undefined
  for (const name of ['requests', 'tokens', 'input-tokens', 'output-tokens']) {
    const reset = Date.parse(headers.get(`anthropic-ratelimit-${name}-reset`) ?? '')
    const isUsedUp = parseDecimal(headers.get(`anthropic-ratelimit-${name}-remaining`)) === 0
    if (isUsedUp && reset >= now) latest = Math.max(latest ?? 0, capPause(reset - now))
  }
  return latest
}

/** Caps what an error's own words ask for, as headers are capped. */
export function capPause(milliseconds: number): number {
  return Math.min(Math.ceil(milliseconds), MAX_RETRY_AFTER_MS)
}

function readCount(headers: HeaderReader, name: string, otherName: string): number | undefined {
  const value = parseDecimal(headers.get(name) ?? headers.get(otherName))
  return value === undefined || value > Number.MAX_SAFE_INTEGER ? undefined : Math.floor(value)
}

/** A limit of 0 means "not told" (some gateways send it), for a lane without any allowance would not have answered. */
function readLimit(headers: HeaderReader, name: string, otherName: string): number | undefined {
  const value = readCount(headers, name, otherName)
  return value === 0 ? undefined : value
}

function readRetryAfter(headers: HeaderReader, now: number): number | undefined {
  const milliseconds = parseDecimal(headers.get('retry-after-ms'))
  if (milliseconds !== undefined) return capPause(milliseconds)
  const value = headers.get('retry-after')?.trim()
  if (!value) return undefined
  const seconds = parseDecimal(value)
  if (seconds !== undefined) return capPause(seconds * 1000)
  // Date.parse takes nearly anything; an HTTP date always names its zone as GMT (RFC 9110 §5.6.7).
  const at = value.endsWith('GMT') ? Date.parse(value) : Number.NaN
  return at >= now ? capPause(at - now) : undefined
}

function parseDecimal(text: string | null): number | undefined {
  const trimmed = text?.trim()
  return trimmed && DECIMAL.test(trimmed) ? Number(trimmed) : undefined
}
