import { expect, test } from 'vitest'
import { classifyErrorObject, classifyStatus } from '../../../providers/classify.ts'
import { classifyConnectionError } from '../../../providers/connection-error.ts'
import { readProviderError } from '../../../providers/provider-error.ts'
import { redact } from '../../../providers/redact.ts'

const table: [status: number, error: object, expected: string][] = [
  [429, { code: 'rate_limit_exceeded', type: 'requests' }, 'throttled'],
  [429, {}, 'throttled'],
  [429, { code: 'insufficient_quota', type: 'insufficient_quota' }, 'final'],
  [429, { code: null, type: 'insufficient_quota' }, 'final'],
  [429, { code: 'billing_hard_limit_reached' }, 'final'],
  [429, { code: 'rate_limit_exceeded', message: 'Request too large for gpt-5 on tokens per min' }, 'final'],
  [408, {}, 'retryable'],
  [409, {}, 'retryable'],
  [425, {}, 'retryable'],
  [500, {}, 'retryable'],
  [502, {}, 'retryable'],
  [503, {}, 'retryable'],
  [504, {}, 'retryable'],
  [529, { type: 'overloaded_error' }, 'retryable'],
  [301, {}, 'final'],
  [400, {}, 'final'],
  [401, {}, 'final'],
  [402, {}, 'final'],
  [403, {}, 'final'],
  [404, {}, 'final'],
  [413, {}, 'final'],
  [418, {}, 'final'],
  [422, {}, 'final'],
]

test.each(table)('status %i with %o is %s and never ambiguous', (status, error, expected) => {
  const verdict = classifyStatus(status, readProviderError(error), 'chat')
  expect(verdict.class).toBe(expected)
  expect(verdict.ambiguous).toBe(false)
})

test('the code is the provider’s code, else its type, else the status', () => {
  expect(classifyStatus(400, { code: 'a', type: 'b' }, 'chat').code).toBe('a')
  expect(classifyStatus(400, { type: 'b' }, 'chat').code).toBe('b')
  expect(classifyStatus(502, {}, 'chat').code).toBe('http_502')
  expect(classifyStatus(400, readProviderError({ code: 1234 }), 'chat').code).toBe('1234')
})

test('a client error is about the input unless it is about the model, the key or an unknown parameter', () => {
  expect(classifyStatus(400, { type: 'invalid_request_error' }, 'embedding').input).toBe(true)
  expect(classifyStatus(422, {}, 'embedding').input).toBe(true)
  expect(classifyStatus(413, {}, 'embedding').input).toBe(true)
  expect(classifyStatus(413, {}, 'chat').input).toBe(false)
  expect(classifyStatus(400, { param: 'model' }, 'embedding').input).toBe(false)
  expect(classifyStatus(400, { code: 'model_not_found' }, 'embedding').input).toBe(false)
  expect(classifyStatus(400, { code: 'invalid_api_key' }, 'embedding').input).toBe(false)
  expect(classifyStatus(401, {}, 'embedding').input).toBe(false)
  expect(classifyStatus(500, {}, 'embedding').input).toBe(false)
})

test('an error object without a status is judged by its code, and is ambiguous once the answer had begun', () => {
  const judge = (error: object, begun = false) => classifyErrorObject(readProviderError(error), 'chat', begun)
  expect(judge({ type: 'server_error' })).toMatchObject({ class: 'retryable', ambiguous: false })
  expect(judge({ type: 'server_error' }, true).ambiguous).toBe(true)
  expect(judge({ code: 'rate_limit_exceeded' }).class).toBe('throttled')
  expect(judge({ code: 429 }).class).toBe('throttled')
  expect(judge({ code: 'insufficient_quota' }).class).toBe('final')
  expect(judge({ type: 'invalid_request_error' })).toMatchObject({ class: 'final', input: true })
  expect(judge({}).code).toBe('provider_error')
})

test.each([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
  'CERT_HAS_EXPIRED',
  'ERR_TLS_CERT_ALTNAME_INVALID',
])('after %s nothing reached the provider: not ambiguous', (code) => {
  const error = new Error('Connection error.', { cause: Object.assign(new Error('inner'), { code }) })
  expect(classifyConnectionError(error)).toMatchObject({
    class: 'retryable',
    code: 'connection_error',
    ambiguous: false,
  })
})

test.each(['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET', 'ERR_STREAM_PREMATURE_CLOSE'])(
  'after %s the provider may have done the work: ambiguous',
  (code) => {
    const error = Object.assign(new Error('inner'), { code })
    expect(classifyConnectionError(error)).toMatchObject({ class: 'retryable', ambiguous: true })
  },
)

test('refusals of every address of a host count as one refusal', () => {
  const refused = Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })
  expect(classifyConnectionError(new AggregateError([refused, refused])).ambiguous).toBe(false)
})

test('messages hold no keys and stay short', () => {
  expect(redact('Incorrect API key provided: sk-proj-abc***xyz.', [])).toBe(
    'Incorrect API key provided: [key]',
  )
  expect(redact('key topsecret99 is wrong', ['topsecret99'])).toBe('key [key] is wrong')
  expect(redact('Authorization: Bearer abc.def', [])).toBe('Authorization: [key]')
  expect(redact('x'.repeat(2000), [])).toHaveLength(500)
})

test('error objects are read from OpenAI’s shape, gateways’ flat ones and bare strings', () => {
  expect(readProviderError({ message: 'm', type: 't', param: 'p', code: 'c' })).toEqual({
    message: 'm',
    type: 't',
    param: 'p',
    code: 'c',
  })
  expect(readProviderError({ detail: 'Not Found' })).toEqual({ message: 'Not Found' })
  expect(readProviderError('plain')).toEqual({ message: 'plain' })
  expect(readProviderError({ code: '', message: { nested: true } })).toEqual({})
  expect(readProviderError(null)).toEqual({})
})
