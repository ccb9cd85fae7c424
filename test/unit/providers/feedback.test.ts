import { expect, test } from 'vitest'
import { readFeedback, readReset } from '../../../providers/feedback.ts'

const NOW = Date.parse('2026-11-23T12:00:00.000Z')
const read = (headers: Record<string, string>) => readFeedback(new Headers(headers), NOW)

test('OpenAI’s headers are read', () => {
  const headers = {
    'x-ratelimit-limit-requests': '500',
    'x-ratelimit-remaining-requests': '499',
    'x-ratelimit-reset-requests': '120ms',
    'x-ratelimit-limit-tokens': '200000',
    'x-ratelimit-remaining-tokens': '0',
    'x-ratelimit-reset-tokens': '6m0s',
  }
  expect(read(headers)).toEqual({
    limitRequests: 500,
    remainingRequests: 499,
    limitTokens: 200000,
    remainingTokens: 0,
  })
})

test('Anthropic’s headers are read', () => {
  const headers = {
    'anthropic-ratelimit-requests-limit': '50',
    'anthropic-ratelimit-requests-remaining': '49',
    'anthropic-ratelimit-tokens-limit': '40000',
    'anthropic-ratelimit-tokens-remaining': '39000',
    'retry-after': '12',
  }
  expect(read(headers)).toEqual({
    limitRequests: 50,
    remainingRequests: 49,
    limitTokens: 40000,
    remainingTokens: 39000,
    retryAfterMs: 12_000,
  })
})

test.each([
  [{ 'retry-after-ms': '250.4' }, 251],
  [{ 'retry-after-ms': '250', 'retry-after': '9' }, 250],
  [{ 'retry-after': '1.5' }, 1500],
  [{ 'retry-after': ' 3 ' }, 3000],
  [{ 'retry-after': 'Mon, 23 Nov 2026 12:00:30 GMT' }, 30_000],
  [{ 'retry-after': '999999' }, 3_600_000],
  [{ 'retry-after-ms': '0', 'retry-after': '2' }, 2000],
  [{ 'x-ms-retry-after-ms': '40' }, 40],
  [{ 'retry-after': '1m30s' }, 90_000],
  [{ 'retry-after': '1795435205' }, 5000],
  [{ 'retry-after-ms': 'soon', 'retry-after': '2' }, 2000],
  [{ 'retry-after': '5, 7' }, 7000],
  [{ 'retry-after': 'Monday, 23-Nov-26 12:00:07 GMT' }, 7000],
  [{ 'retry-after': 'Mon Nov 23 12:00:07 2026' }, 7000],
])('the pause of %o is %i ms', (headers, expected) => {
  expect(read(headers as Record<string, string>)).toEqual({ retryAfterMs: expected })
})

test.each([
  { 'retry-after': '0' },
  { 'retry-after-ms': '0' },
  { 'retry-after-ms': '0', 'retry-after': '0' },
  { 'retry-after': '-1' },
  { 'retry-after': 'NaN' },
  { 'retry-after': 'Infinity' },
  { 'retry-after': '' },
  { 'retry-after': '1e9' },
  { 'retry-after': 'in 5 minutes' },
  { 'retry-after': 'Mon, 23 Nov 2026 11:59:59 GMT' },
  { 'retry-after-ms': '-5' },
  { 'x-ratelimit-remaining-requests': '-1' },
  { 'x-ratelimit-remaining-requests': '1,000' },
  { 'x-ratelimit-limit-tokens': 'unlimited' },
  { 'x-ratelimit-limit-requests': '0' },
  { 'x-ratelimit-limit-tokens': '99999999999999999999' },
])('%o says nothing', (headers) => {
  expect(read(headers as unknown as Record<string, string>)).toEqual({})
})

test('a quota that is used up comes back at the latest of its resets', () => {
  const reset = (headers: Record<string, string>) => readReset(new Headers(headers), NOW)
  const used = (name: string, at: string, remaining = '0') => ({
    [`anthropic-ratelimit-${name}-remaining`]: remaining,
    [`anthropic-ratelimit-${name}-reset`]: at,
  })
  expect(reset(used('requests', '2026-11-23T12:00:05Z'))).toBe(5000)
  expect(
    reset({
      ...used('requests', '2026-11-23T12:00:05Z'),
      ...used('input-tokens', '2026-11-23T12:00:07.5Z'),
      ...used('output-tokens', '2026-11-23T12:00:50Z', '1'),
    }),
  ).toBe(7500)
  expect(reset(used('tokens', '2027-11-23T12:00:00Z'))).toBe(3_600_000)
  expect(reset(used('tokens', '2026-11-23T11:59:59Z'))).toBeUndefined()
  expect(reset(used('tokens', 'soon'))).toBeUndefined()
  expect(reset({})).toBeUndefined()
})

test.each([
  ['6m0s', 360_000],
  ['1.5s', 1500],
  ['120ms', 120],
  ['7', 7000],
  ['0.5', 500],
  ['1795435230', 30_000],
  ['1795435230500', 30_500],
  ['2026-11-23T12:00:05Z', 5000],
  ['23h59m', 3_600_000],
])('a reset of %s is read', (reset, expected) => {
  const headers = { 'x-ratelimit-reset-tokens': reset, 'x-ratelimit-remaining-tokens': '0' }
  expect(readReset(new Headers(headers), NOW)).toBe(expected)
  expect(readReset(new Headers({ 'x-ratelimit-reset': reset }), NOW)).toBe(expected)
  const others = { ...headers, 'x-ratelimit-remaining-tokens': '5' }
  expect(readReset(new Headers(others), NOW)).toBeUndefined()
})
