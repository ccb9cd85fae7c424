import { expect, test } from 'vitest'
import type { FailureCause, FailureClass } from '../../../providers/provider.ts'
import { parseErrorBody } from '../../../providers/provider-error.ts'
import { judgeRefusal } from '../../../providers/verdict.ts'

const NOW = Date.parse('2026-11-23T12:00:00Z')
const CLASS: Partial<Record<FailureCause, FailureClass>> = {
  rate: 'throttled',
  overloaded: 'retryable',
  capacity: 'retryable',
  server: 'retryable',
}
const judge = (status: number, body: unknown) => {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return judgeRefusal(status, parseErrorBody(text), 'chat', NOW)
}
const of = (code: string | number | null, message = 'm', type?: string) => ({
  error: { code, message, ...(type ? { type } : {}) },
})

/** Errors of vendors, and their causes. */
const TABLE: [status: number, body: unknown, cause: FailureCause][] = [
  // Money, with any status.
  [
    429,
    of('insufficient_quota', 'You exceeded your current quota, please check your plan and billing details.'),
    'quota',
  ],
  [429, { error: { type: 'exceeded_current_quota_error', message: 'Your account is suspended' } }, 'quota'],
  [429, of('billing_hard_limit_reached'), 'quota'],
  [429, { error: 'You exceeded your current quota, please check your plan and billing details' }, 'quota'],
  [
    400,
    {
      type: 'error',
      error: {
        type: 'invalid_request_error',
        message: 'Your credit balance is too low to access the Anthropic API.',
      },
    },
    'quota',
  ],
  [402, 'Payment Required', 'quota'],
  [402, of(402, 'Insufficient Balance', 'unknown_error'), 'quota'],
  [403, of('AllocationQuota.FreeTierOnly', 'The free tier of the model has been exhausted.'), 'quota'],
  [400, of('Arrearage', 'Access denied, please make sure your account is in good standing.'), 'quota'],
  [403, of('AccountOverdueError'), 'quota'],
  [429, of('1113', '余额不足'), 'quota'],
  [403, { error: 'Insufficient credits to complete the request' }, 'quota'],
  // The rate.
  [429, '', 'rate'],
  [429, of('rate_limit_exceeded', 'Rate limit reached for gpt-5 on tokens per min', 'tokens'), 'rate'],
  [
    429,
    {
      error: {
        code: 429,
        status: 'RESOURCE_EXHAUSTED',
        message: 'You exceeded your current quota, please check your plan and billing details.',
      },
    },
    'rate',
  ],
  [
    429,
    of(
      429,
      'You exceeded your current quota, please check your plan and billing details. Please retry in 34s.',
    ),
    'rate',
  ],
  [429, of('Throttling.RateQuota'), 'rate'],
  [429, of('limit_requests', 'You exceeded your current requests list.'), 'rate'],
  [429, { message: 'Requests rate limit exceeded' }, 'rate'],
  [403, of('rateLimitExceeded'), 'rate'],
  [420, 'calm down', 'rate'],
  // A server without room: no pause, because it says nothing about our rate.
  [498, of('capacity_exceeded', 'Flex tier capacity exceeded'), 'capacity'],
  [498, '', 'capacity'],
  [429, of('resource_unavailable', 'Flex resources are not available'), 'capacity'],
  [429, { error: { message: '429 Resource Unavailable' } }, 'capacity'],
  [
    429,
    {
      object: 'error',
      type: 'service_tier_capacity_exceeded',
      message: 'Service tier capacity exceeded for this model.',
      code: '3505',
    },
    'overloaded',
  ],
  [
    429,
    { error: { type: 'engine_overloaded_error', message: 'The engine is currently overloaded' } },
    'overloaded',
  ],
  [529, { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }, 'overloaded'],
  [503, { error: 'Model is overloaded' }, 'overloaded'],
  // Broken, or starting up.
  [500, '<html><title>500 Internal</title></html>', 'server'],
  [
    500,
    { error: { code: 500, message: 'Context size has been exceeded.', type: 'server_error' } },
    'too_long',
  ],
  [520, '', 'server'],
  [522, '', 'server'],
  [524, '<html></html>', 'server'],
  [499, of(499, 'cancelled'), 'server'],
  [424, { error: 'Request failed during generation' }, 'server'],
  [408, '', 'server'],
  // The request.
  [400, of('context_length_exceeded'), 'too_long'],
  [
    400,
    {
      object: 'error',
      message: "This model's maximum context length is 4096 tokens.",
      type: 'BadRequestError',
      code: 400,
    },
    'too_long',
  ],
  [400, { error: { code: 400, type: 'exceed_context_size_error', message: 'too big' } }, 'too_long'],
  [413, '<html><title>413 Request Entity Too Large</title></html>', 'too_long'],
  [
    429,
    of('rate_limit_exceeded', 'Request too large for gpt-5 on tokens per min (TPM): Limit 1, Requested 2.'),
    'too_long',
  ],
  [400, of('content_filter', 'The response was filtered'), 'filter'],
  [400, of('data_inspection_failed', 'Input data may contain inappropriate content.'), 'filter'],
  [401, { detail: 'Unauthorized' }, 'auth'],
  [403, '', 'auth'],
  [
    400,
    {
      error: {
        code: 400,
        message: 'API key not valid',
        status: 'INVALID_ARGUMENT',
        details: [{ '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: 'API_KEY_INVALID' }],
      },
    },
    'auth',
  ],
  [404, of('model_not_found'), 'not_found'],
  [404, { error: { message: "model 'x' not found", type: 'api_error' } }, 'not_found'],
  [400, of('unsupported_value'), 'invalid_request'],
  [
    422,
    { detail: [{ type: 'extra_forbidden', loc: ['body', 'x'], msg: 'Extra inputs are not permitted' }] },
    'invalid_request',
  ],
  [400, 'plain words', 'invalid_request'],
]

test.each(TABLE)('status %i with %j is about %s', (status, body, cause) => {
  const verdict = judge(status, body)
  expect(verdict).toMatchObject({ cause, class: CLASS[cause] ?? 'final', ambiguous: false })
})

test.each<[body: unknown, message: string]>([
  ['plain words', 'plain words'],
  [{ detail: 'd' }, 'd'],
  [
    { detail: [{ loc: ['body', 'stream_options'], msg: 'Extra inputs are not permitted' }] },
    'body.stream_options: Extra inputs are not permitted',
  ],
  [{ object: 'error', message: { detail: [{ loc: ['body', 'x'], msg: 'extra' }] } }, 'body.x: extra'],
  [{ message: ['one', 'two'] }, 'one; two'],
  [{ error: 'text' }, 'text'],
  [{ error: { error: { message: 'deep' } } }, 'deep'],
  [{ errors: [{ message: 'a' }, { message: 'b' }] }, 'a; b'],
  [
    {
      error: { message: 'Provider returned error', metadata: { raw: '{"error":{"message":"true words"}}' } },
    },
    'Provider returned error: true words',
  ],
  [[{ error: { message: 'listed' } }], 'listed'],
  ['<html><head><title>502 Bad Gateway</title></head></html>', '502 Bad Gateway'],
  ['data: {"error":{"message":"in a stream"}}\n\n', 'in a stream'],
  ['"quoted"', 'quoted'],
  [
    { error_code: 17, error_msg: 'Open api daily request limit reached' },
    'Open api daily request limit reached',
  ],
])('the text of %j is read', (body, message) => {
  expect(judge(400, body).message).toBe(message)
})

test.each<[body: unknown, wait: number | undefined]>([
  [of('rate_limit_exceeded', 'Rate limit reached. Please try again in 1.2s. Visit https://x.'), 1200],
  [of('rate_limit_exceeded', 'Limit 10, Used 10. Please try again in 6m0s.'), 360_000],
  [of('rate_limit_exceeded', 'Please try again in 250ms.'), 250],
  [of(null, 'Please retry after 20 seconds.'), 20_000],
  [of(null, 'Please retry in 34.074824224s.'), 34_075],
  [of(null, 'Retry after 1 minute and 5 seconds'), 65_000],
  [of(null, 'Too many requests, try again later.'), undefined],
  [of(null, 'Limit is 5 requests per 10 seconds.'), undefined],
  [{ error: { message: 'm', retry_after: 3 } }, 3000],
  [{ error: { message: 'm', retry_after_ms: 40 } }, 40],
  [{ message: 'm', retry_after: '2' }, 2000],
  [{ error: { message: 'm', metadata: { headers: { 'X-RateLimit-Reset': String(NOW + 5000) } } } }, 5000],
  [{ error: { message: 'm', resets_at: NOW / 1000 + 60 } }, 60_000],
  [{ error: { message: 'm', resets_in_seconds: 61 } }, 61_000],
])('the wait in %j is read', (body, wait) => {
  const asked = judge(429, body).retryAfterMs
  expect(asked === undefined ? undefined : Math.ceil(asked)).toBe(wait)
})
