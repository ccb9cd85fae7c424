import { expect, it } from 'vitest'
import { checkLine } from '../../../batches/check-line.ts'
import type { JsonValue } from '../../../lib/json.ts'

const line = (members: { [name: string]: JsonValue | undefined } = {}) => ({
  custom_id: 'a',
  method: 'POST',
  url: '/v1/embeddings',
  body: { model: 'sim/embed', input: 'x' },
  ...members,
})
const check = (value: JsonValue) => checkLine(value, '/v1/embeddings')

it('accepts a request for the endpoint of the batch, with any other members', () => {
  expect(check(line({ extra: 1 }))).toEqual({
    customId: 'a',
    model: 'sim/embed',
    body: { model: 'sim/embed', input: 'x' },
  })
})

it.each([
  ['nothing', null, 'invalid_json_line', null],
  ['an array', [], 'invalid_json_line', null],
  ['no custom_id', line({ custom_id: undefined }), 'missing_required_parameter', 'custom_id'],
  ['a number as custom_id', line({ custom_id: 7 }), 'invalid_custom_id', 'custom_id'],
  ['an empty custom_id', line({ custom_id: '' }), 'invalid_custom_id', 'custom_id'],
  ['a long custom_id', line({ custom_id: 'x'.repeat(513) }), 'invalid_custom_id', 'custom_id'],
  ['no method', line({ method: null }), 'missing_required_parameter', 'method'],
  ['another method', line({ method: 'post' }), 'invalid_method', 'method'],
  ['no url', line({ url: undefined }), 'missing_required_parameter', 'url'],
  ['the url of another endpoint', line({ url: '/v1/responses' }), 'mismatched_url', 'url'],
  ['a url that is none of ours', line({ url: '/v1/images' }), 'invalid_url', 'url'],
  ['no body', line({ body: undefined }), 'missing_required_parameter', 'body'],
  ['a text as body', line({ body: 'x' }), 'invalid_body', 'body'],
  ['no model', line({ body: {} }), 'missing_required_parameter', 'body.model'],
  ['an object as model', line({ body: { model: {} } }), 'invalid_model', 'body.model'],
])('refuses %s', (_what, value, code, param) => {
  expect(check(value as JsonValue)).toMatchObject({ code, param, message: expect.any(String) })
})

it('never repeats the content of a line', () => {
  const told = JSON.stringify([check(line({ method: 'a secret' })), check(line({ url: 'a secret' }))])
  expect(told).not.toContain('secret')
})
