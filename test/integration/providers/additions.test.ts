import { text } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../lib/json.ts'
import { packVector } from '../../../providers/vectors.ts'
import { chatBody, openProvider, openServer } from './fixture.ts'

type Refusal = { status: number; body: string; type?: string; model?: string }

/** A server that refuses bodies with this member. */
async function serve(member: string, refusal: Refusal, now?: () => number) {
  const seen: JsonObject[] = []
  const url = await openServer(async (request, response) => {
    const body = JSON.parse(await text(request)) as JsonObject
    seen.push(body)
    const applies = refusal.model === undefined || refusal.model === body.model
    if (member in body && applies) {
      response.writeHead(refusal.status, { 'content-type': refusal.type ?? 'application/json' })
      response.end(refusal.body)
    } else if (body.input !== undefined) {
      const embedding = body.encoding_format === 'base64' ? packVector([0.5]) : [0.5]
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ object: 'list', data: [{ index: 0, embedding }] }))
    } else {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.end(
        'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
      )
    }
  })
  return { seen, ...openProvider(url, now ? { now } : {}) }
}

const streamed = chatBody('x', { stream: true })
const REFUSALS = (member: string): [shape: string, Refusal][] => [
  [
    'a list of findings',
    {
      status: 422,
      body: JSON.stringify({
        detail: [{ type: 'extra_forbidden', loc: ['body', member], msg: 'Extra inputs are not permitted' }],
      }),
    },
  ],
  [
    'a list in a message (Mistral)',
    {
      status: 422,
      body: JSON.stringify({
        object: 'error',
        message: { detail: [{ loc: ['body', member], msg: 'Extra inputs are not permitted' }] },
        type: 'invalid_request_error',
      }),
    },
  ],
  [
    'a list of messages',
    {
      status: 400,
      body: JSON.stringify({ message: [`property ${member} should not exist`], error: 'Bad Request' }),
    },
  ],
  ['plain text', { status: 400, body: `unknown field "${member}"`, type: 'text/plain' }],
  [
    'plain text that does not name it',
    { status: 422, body: 'Extra inputs are not permitted', type: 'text/plain' },
  ],
  [
    'HTML',
    { status: 400, body: `<html><title>unexpected parameter ${member}</title></html>`, type: 'text/html' },
  ],
  [
    'an error with a 200',
    { status: 200, body: JSON.stringify({ error: { code: 400, message: `${member} is not supported` } }) },
  ],
  ['a 500', { status: 500, body: JSON.stringify({ error: `${member} not implemented` }) }],
]

describe('a member that we add is removed when it is refused, at once', () => {
  test.each(REFUSALS('stream_options'))('stream_options, by %s', async (_shape, refusal) => {
    const { ask, seen } = await serve('stream_options', refusal)
    expect(await ask({ body: streamed })).toMatchObject({ ok: true })
    expect(await ask({ body: streamed })).toMatchObject({ ok: true })
    expect(seen.map((body) => 'stream_options' in body)).toEqual([true, false, false])
  })

  test.each(REFUSALS('encoding_format'))('base64, by %s', async (_shape, refusal) => {
    const { ask, seen } = await serve('encoding_format', refusal)
    const body: JsonObject = { input: ['x'], encoding_format: 'base64' }
    const request = { type: 'embedding' as const, body }
    expect(await ask(request)).toMatchObject({ ok: true })
    expect(await ask(request)).toMatchObject({ ok: true })
    expect(seen.map((body) => 'encoding_format' in body)).toEqual([true, false, false])
  })
})

test('a refusal is remembered for its model alone, and for an hour', async () => {
  let now = 1_000_000
  const refusal = { status: 422, body: '{"detail":"stream_options"}', model: 'old' }
  const { ask, seen } = await serve('stream_options', refusal, () => now)
  for (const model of ['old', 'new', 'old'])
    expect(await ask({ model, body: streamed })).toMatchObject({ ok: true })
  now += 60 * 60 * 1000
  await ask({ model: 'old', body: streamed })
  expect(seen.map((body) => [body.model, 'stream_options' in body])).toEqual([
    ['old', true],
    ['old', false],
    ['new', true],
    ['old', false],
    ['old', true],
    ['old', false],
  ])
})

test('a refusal of another member is the client’s error, and usage is requested as before', async () => {
  const { ask, seen } = await serve('odd', {
    status: 400,
    body: '{"error":{"message":"Unknown parameter: odd"}}',
  })
  expect(await ask({ body: { ...streamed, odd: 1 } })).toMatchObject({ ok: false, class: 'final' })
  expect(await ask({ body: streamed })).toMatchObject({ ok: true })
  expect(seen.at(-1)).toMatchObject({ stream_options: { include_usage: true } })
})

test('the client’s own stream_options stay', async () => {
  const { ask, seen } = await serve('none', { status: 400, body: '' })
  await ask({ body: { ...streamed, stream_options: { include_obfuscation: false } } })
  expect(seen[0]).toMatchObject({ stream_options: { include_obfuscation: false, include_usage: true } })
  const refusing = await serve('stream_options', { status: 400, body: 'include_usage is unknown' })
  const own = { ...streamed, stream_options: { include_usage: true } }
  expect(await refusing.ask({ body: own })).toMatchObject({
    ok: false,
    class: 'final',
    message: 'include_usage is unknown',
  })
  expect(refusing.seen).toHaveLength(1)
})
