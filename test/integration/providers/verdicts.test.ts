import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../lib/json.ts'
import type { ProviderAnswer } from '../../../providers/provider.ts'
import { chatBody, collectDeltas, openProvider, openServer } from './fixture.ts'

type Reply = { status?: number; headers?: Record<string, string>; body: string | Buffer }

async function serve(reply: Reply) {
  const url = await openServer((request, response) => {
    request.resume()
    request.on('end', () => response.writeHead(reply.status ?? 200, reply.headers ?? {}).end(reply.body))
  })
  return openProvider(url)
}

const event = (value: unknown, name?: string) =>
  `${name === undefined ? '' : `event: ${name}\n`}data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`
const chunk = (delta: JsonObject, finish: string | null = null): JsonObject => ({
  id: 'c',
  object: 'chat.completion.chunk',
  created: 5,
  model: 'm',
  choices: [{ index: 0, delta, finish_reason: finish }],
})
const HELLO = event(chunk({ role: 'assistant', content: 'Hello' }))
const STOP = event(chunk({}, 'stop'))
const DONE = event('[DONE]')
const SSE = { 'content-type': 'text/event-stream' }
const JSON_TYPE = { 'content-type': 'application/json' }
const WHOLE = {
  id: 'c',
  object: 'chat.completion',
  created: 5,
  model: 'm',
  choices: [{ index: 0, message: { role: 'assistant', content: 'Hello' }, finish_reason: 'stop' }],
}

function contentOf(answer: ProviderAnswer): unknown {
  if (!answer.ok) throw new Error(`${answer.code}: ${answer.message}`)
  return (answer.body.choices as { message: JsonObject }[])[0]!.message.content
}

describe('an error inside a stream is a failure with its own message, in every shape', () => {
  test.each<[shape: string, text: string, expected: object]>([
    [
      'a named event with a code and details',
      event({ code: 400, details: 'bad tokens' }, 'error'),
      { class: 'final', cause: 'invalid_request', code: '400', message: 'bad tokens' },
    ],
    [
      'a flat object',
      event({ object: 'error', message: 'Engine is dead', code: 500 }),
      { class: 'retryable', message: 'Engine is dead' },
    ],
    [
      'a detail',
      event({ detail: 'Rate limit exceeded, retry after 2 seconds', code: 429 }),
      { class: 'throttled', feedback: { retryAfterMs: 2000 } },
    ],
    [
      'a list of findings',
      event({ detail: [{ loc: ['body', 'x'], msg: 'extra' }], code: 422 }),
      { class: 'final', message: 'body.x: extra' },
    ],
    [
      'an error object',
      event({ error: { message: 'boom', type: 'server_error' } }),
      { class: 'retryable', code: 'server_error', message: 'boom' },
    ],
    [
      'an error text',
      event({ error: 'CUDA out of memory' }),
      { class: 'retryable', message: 'CUDA out of memory' },
    ],
    [
      'an error in a choice',
      event({
        choices: [{ index: 0, delta: {}, finish_reason: 'error', error: { code: 502, message: 'upstream' } }],
      }),
      { class: 'retryable', code: '502', message: 'upstream' },
    ],
    [
      'an error beside choices',
      event({ ...chunk({ content: '' }, 'error'), error: { code: 429, message: 'slow' } }),
      { class: 'throttled', message: 'slow' },
    ],
    [
      'an error within an error',
      event({ error: { error: { message: 'in', code: 'insufficient_quota' } } }),
      { class: 'final', cause: 'quota', message: 'in' },
    ],
    [
      'text under the name of an error',
      event('Internal Server Error', 'error'),
      { class: 'retryable', message: 'Internal Server Error' },
    ],
    [
      'a bare line of JSON',
      '{"error":{"message":"bare","code":500}}\n',
      { class: 'retryable', message: 'bare' },
    ],
    [
      'a status object (MiniMax)',
      event({ base_resp: { status_code: 1008, status_msg: 'insufficient balance' } }),
      { class: 'final', cause: 'quota', message: 'insufficient balance' },
    ],
    [
      'Google’s list',
      event([{ error: { code: 503, status: 'UNAVAILABLE', message: 'busy' } }]),
      { class: 'retryable', code: 'UNAVAILABLE' },
    ],
  ])('%s', async (_shape, text, expected) => {
    const { deltas, onDelta } = collectDeltas()
    const body = chatBody('x', { stream: true })
    const { ask } = await serve({ headers: SSE, body: `${HELLO}${text}${DONE}` })
    expect(await ask({ body, onDelta })).toMatchObject({
      ok: false,
      ambiguous: true,
      status: 200,
      ...expected,
    })
    // Text outside of the answer is not passed on: the client learns of the failure once, from its job.
    expect(deltas).toHaveLength(1)
    const first = await serve({ headers: SSE, body: text })
    expect(await first.ask({ body })).toMatchObject({ ok: false, ambiguous: false, ...expected })
  })
})

describe('an answer that was given up, or never came, is not an answer', () => {
  const STREAMS: [title: string, text: string, code: string][] = [
    ['finish_reason abort', `${HELLO}${event(chunk({}, 'abort'))}${DONE}`, 'unfinished_answer'],
    ['finish_reason error', `${HELLO}${event(chunk({}, 'error'))}${DONE}`, 'unfinished_answer'],
    [
      'finish_reason insufficient_system_resource',
      `${HELLO}${event(chunk({}, 'insufficient_system_resource'))}`,
      'unfinished_answer',
    ],
    ['[DONE] without a finish reason', `${HELLO}${DONE}`, 'truncated_stream'],
    [
      'one of two choices without a reason',
      `${HELLO}${STOP}${event({ choices: [{ index: 1, delta: { content: 'b' } }] })}${DONE}`,
      'truncated_stream',
    ],
    ['[DONE] alone', DONE, 'invalid_answer'],
    ['no event at all', '', 'truncated_stream'],
    ['choices that are empty', `${event({ ...chunk({}), choices: [] })}${DONE}`, 'invalid_answer'],
    ['choices of null', `${event({ ...chunk({}), choices: [null] })}${DONE}`, 'invalid_answer'],
    ['JSON cut in two', `${HELLO}data: {"id":"c","cho\n\n${STOP}${DONE}`, 'invalid_answer'],
    ['HTML', '<html><title>Sign in</title></html>', 'invalid_answer'],
  ]
  test.each(STREAMS)('streamed: %s', async (_title, text, code) => {
    const { ask } = await serve({ headers: SSE, body: text })
    const failure = { ok: false, class: 'retryable', code, ambiguous: true }
    expect(await ask({ body: chatBody('x', { stream: true }) })).toMatchObject(failure)
  })

  const choice = (members: JsonObject) => JSON.stringify({ ...WHOLE, choices: [members] })
  const BODIES: [title: string, text: string, code: string][] = [
    ['no choices', JSON.stringify({ ...WHOLE, choices: [] }), 'invalid_answer'],
    ['a choice of null', JSON.stringify({ ...WHOLE, choices: [null] }), 'invalid_answer'],
    ['a choice without a message', choice({ index: 0, finish_reason: 'stop' }), 'invalid_answer'],
    ['a given-up choice', choice({ ...WHOLE.choices[0], finish_reason: 'abort' }), 'unfinished_answer'],
    ['nothing', '', 'invalid_answer'],
    ['HTML', '<html></html>', 'invalid_answer'],
    ['null', 'null', 'invalid_answer'],
    ['half of it', JSON.stringify(WHOLE).slice(0, 80), 'invalid_answer'],
  ]
  test.each(BODIES)('whole: %s', async (_title, text, code) => {
    const { ask } = await serve({ headers: JSON_TYPE, body: text })
    expect(await ask({ body: chatBody('x') })).toMatchObject({
      ok: false,
      class: 'retryable',
      code,
      ambiguous: true,
    })
  })

  test.each<[shape: string, body: JsonObject, expected: object]>([
    ['an object', { error: { message: 'no', code: 'rate_limit_exceeded' } }, { class: 'throttled' }],
    ['a text', { error: 'model is overloaded' }, { class: 'retryable', cause: 'overloaded' }],
    [
      'a flat object',
      { object: 'error', message: 'maximum context length is 8', code: 400 },
      { class: 'final', cause: 'too_long' },
    ],
    ['a detail', { detail: 'Unauthorized' }, { class: 'final', cause: 'auth', message: 'Unauthorized' }],
    [
      'in a choice',
      { choices: [{ index: 0, error: { code: 402, message: 'pay' }, message: {} }] },
      { class: 'final', cause: 'quota' },
    ],
  ])('an error with a 200: %s', async (_shape, body, expected) => {
    const { ask } = await serve({ headers: JSON_TYPE, body: JSON.stringify(body) })
    expect(await ask({ body: chatBody('x') })).toMatchObject({ ok: false, status: 200, ...expected })
    expect(await ask({ body: chatBody('x', { stream: true }) })).toMatchObject({ ok: false, ...expected })
  })

  test('a response that failed, was cancelled, or has no item', async () => {
    for (const body of [
      { status: 'failed', output: [], error: { code: 'server_error', message: 'm' } },
      { status: 'cancelled', output: [] },
      { status: 'completed', output: [] },
    ]) {
      const { ask } = await serve({ headers: JSON_TYPE, body: JSON.stringify(body) })
      expect(await ask({ type: 'response', body: { input: 'x' } })).toMatchObject({
        ok: false,
        class: 'retryable',
      })
      const type = `response.${body.status === 'failed' ? 'failed' : 'completed'}`
      const streamed = await serve({ headers: SSE, body: event({ type, response: body }) })
      const asked = { input: 'x', stream: true }
      expect(await streamed.ask({ type: 'response', body: asked })).toMatchObject({
        ok: false,
        class: 'retryable',
      })
    }
  })
})

describe('a part that does not belong to the answer is skipped', () => {
  test.each<[title: string, text: string]>([
    ['empty data', `data:\n\n${HELLO}data: \n\n${STOP}data\n\n${DONE}`],
    [
      'pings',
      `${event({ type: 'ping' }, 'ping')}${HELLO}event: ping\ndata\n\n${STOP}${event('{}', 'ping')}${DONE}`,
    ],
    ['comments and retry', `: hi\nretry: 10\n\n${HELLO}: OPENROUTER PROCESSING\n\n${STOP}${DONE}`],
    ['[DONE] with blanks', `${HELLO}${STOP}data:  [DONE] \n\n`],
    ['words', `${event('ping')}${HELLO}${event('keep-alive')}${STOP}${DONE}`],
    ['objects of others', `${event({ type: 'status', step: 1 })}${HELLO}${event({})}${STOP}${DONE}`],
    ['a mark and CRLF', `\uFEFF${`${HELLO}${STOP}${DONE}`.replaceAll('\n', '\r\n')}`],
    ['CR alone', `${HELLO}${STOP}${DONE}`.replaceAll('\n', '\r')],
    ['no blank line at the end', `${HELLO}${STOP}data: [DONE]`],
    ['no [DONE]', `${HELLO}${STOP}`],
    [
      'a last chunk without choices',
      `${HELLO}${STOP}${event({ object: 'chat.completion.chunk', usage: null })}${DONE}`,
    ],
  ])('%s', async (_title, text) => {
    const { deltas, onDelta } = collectDeltas()
    const { ask } = await serve({ headers: SSE, body: text })
    expect(contentOf(await ask({ body: chatBody('x', { stream: true }), onDelta }))).toBe('Hello')
    expect(deltas.every(({ choices }) => Array.isArray(choices))).toBe(true)
  })

  test('heartbeats of a response, and a type that is in the event’s name alone', async () => {
    const response = { id: 'r', status: 'completed', output: [] }
    const item = {
      id: 'i',
      type: 'message',
      role: 'assistant',
      content: [{ type: 'output_text', text: 'Hello' }],
    }
    const text = [
      event({ response: { ...response, status: 'in_progress' } }, 'response.created'),
      event({ type: 'keepalive', sequence_number: 1 }),
      event({ output_index: 0, item: { ...item, content: [] } }, 'response.output_item.added'),
      event('ping', 'ping'),
      event({ output_index: 0, item }, 'response.output_item.done'),
      event({ response }, 'response.completed'),
    ].join('')
    const { deltas, onDelta } = collectDeltas()
    const { ask } = await serve({ headers: SSE, body: text })
    const answer = await ask({ type: 'response', body: { input: 'x', stream: true }, onDelta })
    expect(answer).toMatchObject({ ok: true, body: { output: [item] } })
    expect(deltas.map(({ type }) => type)).toEqual([
      'response.created',
      'response.output_item.added',
      'response.output_item.done',
      'response.completed',
    ])
  })
})

describe('the first byte of an answer says what it is, not its type', () => {
  const stream = `${HELLO}${STOP}${DONE}`
  test.each([
    ['text/plain', stream],
    ['TEXT/EVENT-STREAM', stream],
    ['application/json', stream],
    ['', stream],
    ['application/octet-stream', `: first\n\n${stream}`],
    ['text/event-stream', JSON.stringify(WHOLE)],
    ['text/event-stream; charset=utf-8', `\uFEFF${JSON.stringify(WHOLE)}`],
    ['', `\n ${JSON.stringify(WHOLE)}`],
  ])('%s', async (type, body) => {
    const { ask } = await serve({ headers: type === '' ? {} : { 'content-type': type }, body })
    for (const members of [{ stream: true }, {}]) {
      expect(contentOf(await ask({ body: chatBody('x', members) }))).toBe('Hello')
    }
  })
})

describe('an encoding that nobody asked for is decoded', () => {
  const CODINGS: [string, (text: string) => Buffer][] = [
    ['gzip', gzipSync],
    ['x-gzip', gzipSync],
    ['deflate', deflateSync],
    ['Deflate', deflateRawSync],
    ['br', brotliCompressSync],
    ['zstd', zstdCompressSync],
    ['gzip, br', (text) => brotliCompressSync(gzipSync(text))],
    ['identity', (text) => Buffer.from(text)],
  ]
  test.each(CODINGS)('%s', async (coding, code) => {
    const headers = { 'content-encoding': coding }
    const whole = await serve({ headers, body: code(JSON.stringify(WHOLE)) })
    expect(contentOf(await whole.ask({ body: chatBody('x') }))).toBe('Hello')
    const streamed = await serve({ headers: { ...headers, ...SSE }, body: code(`${HELLO}${STOP}${DONE}`) })
    expect(contentOf(await streamed.ask({ body: chatBody('x', { stream: true }) }))).toBe('Hello')
    const body = code('{"error":{"message":"no money","code":"insufficient_quota"}}')
    const refused = await serve({ status: 429, headers, body })
    expect(await refused.ask({ body: chatBody('x') })).toMatchObject({ class: 'final', message: 'no money' })
  })

  test('within the bound of an answer, and not for bytes that are something else', async () => {
    const bomb = await openServer((request, response) => {
      request.resume()
      response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(Buffer.alloc(8 << 20, ' ')))
    })
    const { ask } = openProvider(bomb, { maxAnswerBytes: 1 << 20 })
    expect(await ask({ body: chatBody('x') })).toMatchObject({ class: 'final', code: 'answer_too_large' })
    const odd = await serve({ headers: { 'content-encoding': 'gzip' }, body: JSON.stringify(WHOLE) })
    expect(await odd.ask({ body: chatBody('x') })).toMatchObject({
      class: 'retryable',
      code: 'invalid_answer',
    })
    const cut = gzipSync(JSON.stringify(WHOLE)).subarray(0, 40)
    const half = await serve({ headers: { 'content-encoding': 'gzip' }, body: cut })
    expect(await half.ask({ body: chatBody('x') })).toMatchObject({ class: 'retryable', ambiguous: true })
  })
})

test('vectors belong to their inputs also where the index of the first is left out', async () => {
  const vector = (index: number | undefined, value: number) => ({
    object: 'embedding',
    ...(index === undefined ? {} : { index }),
    embedding: [value],
  })
  const ask = async (data: JsonObject[]) => {
    const { ask } = await serve({ headers: JSON_TYPE, body: JSON.stringify({ object: 'list', data }) })
    return ask({ type: 'embedding', body: { input: data.map((_, at) => `text ${at}`) } })
  }
  const placed = {
    ok: true,
    body: {
      data: [
        { index: 1, embedding: [1] },
        { index: 0, embedding: [0] },
        { index: 2, embedding: [2] },
      ],
    },
  }
  expect(await ask([vector(1, 1), vector(undefined, 0), vector(2, 2)])).toMatchObject(placed)
  expect(await ask([vector(undefined, 0), vector(undefined, 1)])).toMatchObject({ ok: true })
  for (const odd of [
    [vector(1, 1), vector(1, 0)],
    [vector(5, 1), vector(undefined, 0)],
    [vector(0, 1), { embedding: [] }],
  ]) {
    expect(await ask(odd)).toMatchObject({ ok: false, code: 'invalid_answer' })
  }
})
