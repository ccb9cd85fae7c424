import { expect, test } from 'vitest'
import { createAttempt } from '../../../providers/attempt.ts'
import type { ProviderRequest } from '../../../providers/provider.ts'
import { RefusedError } from '../../../providers/transport.ts'

const NOW = Date.parse('2026-11-23T12:00:00.000Z')
/** Unix seconds, 7 s from now. */
const SOON = NOW / 1000 + 7
const RETRY_INFO = 'type.googleapis.com/google.rpc.RetryInfo'
const HOUR = 3_600_000

const attempt = createAttempt({ defaultTimeoutMs: 1000, secrets: [], now: () => NOW })
const request = {
  ...{ type: 'chat', model: 'm', body: {}, timeoutMs: 1000 },
  signal: new AbortController().signal,
} as ProviderRequest

/** How long a 429 with these headers and this error asks us to wait, ms; undefined: it does not say. */
async function waitOf(headers: Record<string, string>, error: object = {}): Promise<number | undefined> {
  const answer = await attempt(request, {
    send: () =>
      Promise.reject(
        new RefusedError({
          status: 429,
          headers: new Headers(headers),
          error: { message: 'slow down', ...error },
        }),
      ),
    read: () => Promise.reject(new Error('there is no answer')),
  })
  expect(answer).toMatchObject({ ok: false, class: 'throttled' })
  return answer.feedback.retryAfterMs
}

const google = (...details: object[]) => ({ code: 429, status: 'RESOURCE_EXHAUSTED', details })

test.each<[headers: Record<string, string>, error: object, wait: number | undefined]>([
  // The header of HTTP: seconds, fractions of them, a date in each of its forms.
  [{ 'retry-after': '20' }, {}, 20_000],
  [{ 'retry-after': '1.5' }, {}, 1500],
  [{ 'retry-after': 'Mon, 23 Nov 2026 12:00:07 GMT' }, {}, 7000],
  [{ 'retry-after': 'Monday, 23-Nov-26 12:00:07 GMT' }, {}, 7000],
  [{ 'retry-after': 'Mon Nov 23 12:00:07 2026' }, {}, 7000],
  // Milliseconds win, and zero counts as missing.
  [{ 'retry-after-ms': '250', 'retry-after': '9' }, {}, 250],
  [{ 'retry-after-ms': '0', 'retry-after': '2' }, {}, 2000],
  [{ 'retry-after-ms': '0' }, {}, undefined],
  [{ 'retry-after': '0' }, {}, undefined],
  [{ 'retry-after-ms': '0' }, { message: 'Please try again in 1.5s.' }, 1500],
  [{ 'retry-after': 'Mon, 23 Nov 2026 11:59:59 GMT' }, {}, undefined],
  // Resets of limits that are used up.
  [{ 'x-ratelimit-reset-requests': '6m0s', 'x-ratelimit-remaining-requests': '0' }, {}, 360_000],
  [{ 'x-ratelimit-reset-tokens': '1.5s', 'x-ratelimit-remaining-tokens': '0' }, {}, 1500],
  [{ 'x-ratelimit-reset-tokens': '7', 'x-ratelimit-remaining-tokens': '0' }, {}, 7000],
  [{ 'x-ratelimit-reset': String(SOON) }, {}, 7000],
  [{ 'x-ratelimit-reset': String(SOON * 1000) }, {}, 7000],
  [{ 'anthropic-ratelimit-input-tokens-reset': '2026-11-23T12:00:07Z' }, {}, 7000],
  [{ 'x-ratelimit-reset-tokens': '6m0s', 'x-ratelimit-remaining-tokens': '12' }, {}, undefined],
  // An explicit wait wins over a reset.
  [{ 'retry-after': '3', 'x-ratelimit-reset-tokens': '6m0s', 'x-ratelimit-remaining-tokens': '0' }, {}, 3000],
  // Members and texts of errors.
  [{}, { retry_after: 3 }, 3000],
  [{}, { retry_after: '6m0s' }, 360_000],
  [{}, { retryAfterMs: 40 }, 40],
  [{}, { resets_at: SOON }, 7000],
  [{}, { metadata: { headers: { 'X-RateLimit-Reset': String(SOON * 1000) } } }, 7000],
  [{}, { message: 'Rate limit reached. Please try again in 6m0s. Visit https://x.example' }, 360_000],
  [{}, { message: 'Please retry after 20 seconds.' }, 20_000],
  [{}, { message: 'Your limit resets at 2026-11-23T12:00:07Z' }, 7000],
  // Gemini's.
  [{}, google({ '@type': RETRY_INFO, retryDelay: '34.5s' }), 34_500],
  [{}, google({ '@type': RETRY_INFO, retryDelay: { seconds: '34', nanos: 5e8 } }), 34_500],
  // No wait is longer than an hour.
  [{ 'retry-after': '86400' }, {}, HOUR],
  [{ 'x-ratelimit-reset-requests': '23h59m', 'x-ratelimit-remaining-requests': '0' }, {}, HOUR],
  [{}, google({ '@type': RETRY_INFO, retryDelay: '35640s' }), HOUR],
  [{}, {}, undefined],
])('a 429 with %o and %o asks for %s ms', async (headers, error, wait) => {
  expect(await waitOf(headers, error)).toBe(wait)
})
