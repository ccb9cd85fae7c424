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
  test('goes by its canonical name, with its status’s class', () => {
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
    expect(judgeRefusal(503, unavailable, 'chat')).not.toHaveProperty('retryAfterMs')
  })

  test('about the day’s quota pauses for an hour at the least', () => {
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

test('words that only look like Google’s are left as they are', () => {
  expect(judgeRefusal(400, { code: 'content_filter', status: 400 }, 'chat').code).toBe('content_filter')
  expect(judgeRefusal(429, { status: 'Too Many Requests' }, 'chat').code).toBe('http_429')
})

test('limits of spending are final, whoever words them', () => {
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

test('a day’s quota that is told by a code alone pauses for an hour', () => {
  expect(judgeRefusal(429, { code: 'quota_exceeded', message: 'm' }, 'chat')).toMatchObject({
    class: 'throttled',
    retryAfterMs: HOUR,
  })
})
