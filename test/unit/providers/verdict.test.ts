import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../lib/json.ts'
import { judgeError, judgeRefusal } from '../../../providers/verdict.ts'

const TYPE = 'type.googleapis.com/google.rpc.'
const retryIn = (retryDelay: string) => ({ '@type': `${TYPE}RetryInfo`, retryDelay })
const violated = (...quotas: string[]) => ({
  '@type': `${TYPE}QuotaFailure`,
  violations: quotas.map((quotaId) => ({ quotaId, quotaMetric: 'generate_content_requests' })),
})
const exhausted = (details: JsonObject[], message = 'You exceeded your current quota.') => ({
  code: 429,
  status: 'RESOURCE_EXHAUSTED',
  message,
  details,
})
const HOUR = 3_600_000

describe('an error of Google’s', () => {
  test('has its canonical name, with its status’s class', () => {
    const names: [number, string, string][] = [
      [400, 'INVALID_ARGUMENT', 'final'],
      [400, 'FAILED_PRECONDITION', 'final'],
      [403, 'PERMISSION_DENIED', 'final'],
      [404, 'NOT_FOUND', 'final'],
      [429, 'RESOURCE_EXHAUSTED', 'throttled'],
      [500, 'INTERNAL', 'retryable'],
      [503, 'UNAVAILABLE', 'retryable'],
      [504, 'DEADLINE_EXCEEDED', 'retryable'],
    ]
    for (const [code, status, expected] of names) {
      const error = { code, status, message: 'm' }
      expect(judgeRefusal(code, error, 'chat')).toMatchObject({ class: expected, code: status })
      expect(judgeError(error, 'chat', true)).toMatchObject({
        class: expected,
        code: status,
        ambiguous: true,
      })
    }
  })

  test('names its wait', () => {
    expect(judgeRefusal(429, exhausted([retryIn('34s')]), 'chat').retryAfterMs).toBe(34_000)
    expect(judgeRefusal(429, exhausted([retryIn('0.0215s')]), 'chat').retryAfterMs).toBe(22)
    for (const odd of ['soon', '-3s', '3', '1m']) {
      expect(judgeRefusal(429, exhausted([retryIn(odd)]), 'chat')).not.toHaveProperty('retryAfterMs')
    }
    const unavailable = { code: 503, status: 'UNAVAILABLE', message: 'm', details: [retryIn('3s')] }
    expect(judgeRefusal(503, unavailable, 'chat').retryAfterMs).toBe(3000)
    const bare = { code: 429, message: 'm', details: [retryIn('3s')] }
    expect(judgeRefusal(429, bare, 'chat').retryAfterMs).toBe(3000)
    const members = [{ '@type': `${TYPE}RetryInfo`, retryDelay: { seconds: '2', nanos: 5e8 } }]
    expect(judgeRefusal(429, exhausted(members), 'chat').retryAfterMs).toBe(2500)
  })

  test('about the day’s quota pauses for at least an hour', () => {
    const daily = violated('GenerateRequestsPerMinute', 'GenerateRequestsPerDayPerProjectPerModel-FreeTier')
    expect(judgeRefusal(429, exhausted([daily, retryIn('34s')]), 'chat').retryAfterMs).toBe(HOUR)
    expect(judgeRefusal(429, exhausted([daily]), 'chat').retryAfterMs).toBe(HOUR)
    expect(judgeRefusal(429, exhausted([daily, retryIn('35640s')]), 'chat').retryAfterMs).toBe(35_640_000)
    const minute = violated('GenerateRequestsPerMinutePerProjectPerModel')
    expect(judgeRefusal(429, exhausted([minute, retryIn('34s')]), 'chat').retryAfterMs).toBe(34_000)
  })

  test('about a quota of nothing does not pass by waiting', () => {
    const message = 'Quota exceeded for metric: requests, limit: 0, model: gemini-3-pro'
    expect(judgeRefusal(429, exhausted([retryIn('34s')], message), 'chat')).toMatchObject({
      class: 'final',
      code: 'insufficient_quota',
    })
    const ten = 'Quota exceeded for metric: requests, limit: 10, model: gemini-3-pro'
    expect(judgeRefusal(429, exhausted([], ten), 'chat').class).toBe('throttled')
  })

  test('about the key is not about the input', () => {
    const details = [{ '@type': `${TYPE}ErrorInfo`, reason: 'API_KEY_INVALID' }]
    const error = { code: 400, status: 'INVALID_ARGUMENT', message: 'API key not valid.', details }
    expect(judgeRefusal(400, error, 'embedding')).toMatchObject({ code: 'API_KEY_INVALID', input: false })
    expect(judgeRefusal(400, { ...error, details: [] }, 'embedding').input).toBe(true)
  })
})

test('messages that only look like Google’s are left unchanged', () => {
  expect(judgeRefusal(400, { code: 'content_filter', status: 400 }, 'chat').code).toBe('content_filter')
  expect(judgeRefusal(429, { status: 'Too Many Requests' }, 'chat').code).toBe('http_429')
})

test('limits of spending are final, in the words of every provider', () => {
  for (const error_code of ['enforced_spend_limit_reached', 'contract_spend_limit_reached']) {
    const error = { type: 'rate_limit_error', message: 'm', details: { error_code } }
    expect(judgeRefusal(429, error, 'chat')).toMatchObject({ class: 'final', code: error_code })
  }
  const ramp = { type: 'rate_limit_error', message: 'm', details: { error_code: 'ramp_limit_exceeded' } }
  expect(judgeRefusal(429, ramp, 'chat')).toMatchObject({ class: 'throttled', code: 'ramp_limit_exceeded' })
  for (const code of ['credit_balance_exhausted', 'organization_usage_limit_exceeded']) {
    expect(judgeRefusal(429, { code, type: 'insufficient_quota' }, 'chat').class).toBe('final')
  }
  expect(judgeRefusal(429, { code: 'slow_down', type: 'rate_limit_error' }, 'chat').class).toBe('throttled')
})

test('a day’s quota that only a code states pauses for an hour', () => {
  expect(judgeRefusal(429, { code: 'quota_exceeded', message: 'm' }, 'chat')).toMatchObject({
    class: 'throttled',
    retryAfterMs: HOUR,
  })
})

test.each<[JsonObject, number | undefined]>([
  [{ retry_after: 3 }, 3000],
  [{ retry_after: '6m0s' }, 360_000],
  [{ retryAfterMs: 40 }, 40],
  [{ retry_after_ms: 0, retry_after: 2 }, 2000],
  [{ resets_at: Date.UTC(2026, 10, 23, 12, 0, 7) / 1000 }, 7000],
  [{ resetsAt: Date.UTC(2026, 10, 23, 12, 0, 7) }, 7000],
  [{ reset_at: '2026-11-23T12:00:07Z' }, 7000],
  [{ metadata: { headers: { 'X-RateLimit-Reset': '1795435207000' } } }, 7000],
  [{ message: 'Please try again in 6m0s.' }, 360_000],
  [{ message: 'Please try again in 120ms.' }, 120],
  [{ message: 'Please retry after 20 seconds.' }, 20_000],
  [{ message: 'Too many requests. Wait 20 seconds.' }, 20_000],
  [{ message: 'Your limit resets at 2026-11-23T12:00:07Z.' }, 7000],
  [{ message: 'Please try again in 0s.' }, undefined],
  [{ message: 'The wait was 20 characters long.' }, undefined],
  [{ resets_at: Date.UTC(2026, 10, 23, 11, 0, 0) / 1000 }, undefined],
])('the wait in %o is read', (members, expected) => {
  const error = { message: 'slow down', ...members }
  const verdict = judgeRefusal(429, error, 'chat', Date.UTC(2026, 10, 23, 12))
  expect(verdict.retryAfterMs).toBe(expected)
})
