import { expect, test } from 'vitest'
import type { JsonObject } from '../../../lib/json.ts'
import type { ProviderAnswer } from '../../../providers/provider.ts'
import { chatBody, collectDeltas, openProvider, openServer, openSimulator } from './fixture.ts'

function bodyOf(answer: ProviderAnswer): JsonObject {
  if (!answer.ok) throw new Error(answer.message)
  return answer.body
}
/** Ids differ from call to call. */
function withoutId(body: JsonObject): JsonObject {
  return { ...body, id: null, created: null }
}
async function serveStream(
  text: string,
  type = 'text/event-stream',
): Promise<ReturnType<typeof openProvider>> {
  const url = await openServer((request, response) => {
    request.resume()
    response.writeHead(200, { 'content-type': type }).end(text)
  })
  return openProvider(url)
}

test('a streamed chat adds up to the body that comes in one piece', async () => {
  const { ask } = await openSimulator({ outputTokens: 200 })
  const { deltas, onDelta } = collectDeltas()
  const whole = await ask({ body: chatBody('hello', { n: 2 }) })
  const streamed = await ask({ body: chatBody('hello', { n: 2, stream: true }), onDelta })
  expect(withoutId(bodyOf(streamed))).toEqual(withoutId(bodyOf(whole)))
  expect(streamed).toMatchObject({ ok: true, usage: { input_tokens: 2 } })
  expect(deltas.length).toBeGreaterThan(20)
})

test('streamed tool calls add up too', async () => {
  const { ask } = await openSimulator()
  const tools = [{ type: 'function', function: { name: 'find', parameters: {} } }]
  const body = chatBody('use a [[tool]]', { tools })
  const whole = bodyOf(await ask({ body }))
  const streamed = bodyOf(await ask({ body: { ...body, stream: true } }))
  expect(streamed.choices).toEqual(whole.choices)
})

test('nothing more is read of a stream while its chunks are not taken as fast as they come', async () => {
  const pieces = 50_000
  const piece = `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: 'word ' } }] })}\n\n`
  const last = piece.replace('}]}', ',"finish_reason":"stop"}]}')
  const { ask } = await serveStream(`${piece.repeat(pieces - 1)}${last}data: [DONE]\n\n`)
  let isHeld = false
  let holds = 0
  const taken = { before: 0, whileHeld: 0 }
  const answer = await ask({
    body: chatBody('hello', { stream: true }),
    onDelta() {
      taken[isHeld ? 'whileHeld' : 'before']++
    },
    drained() {
      isHeld = true
      holds++
      return new Promise((resolve) => {
        setImmediate(() => {
          isHeld = false
          resolve()
        })
      })
    },
  })
  expect(answer.ok).toBe(true)
  expect(taken).toEqual({ before: pieces, whileHeld: 0 })
  expect(holds).toBeGreaterThan(10)
})

test('usage is always requested, and shown to those alone who asked', async () => {
  const { ask } = await openSimulator()
  const quiet = collectDeltas()
  const silent = await ask({ body: chatBody('hello', { stream: true }), onDelta: quiet.onDelta })
  expect(silent).toMatchObject({ ok: true, usage: { input_tokens: 2 } })
  expect(quiet.deltas.every((chunk) => !('usage' in chunk) && (chunk.choices as []).length > 0)).toBe(true)

  const told = collectDeltas()
  const body = chatBody('hello', { stream: true, stream_options: { include_usage: true } })
  await ask({ body, onDelta: told.onDelta })
  expect(told.deltas.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: 2 } })
  expect(told.deltas.length).toBe(quiet.deltas.length + 1)
})

test('a server that refuses stream_options gets none from then on', async () => {
  const asked: boolean[] = []
  const url = await openServer((request, response) => {
    let text = ''
    request.on('data', (chunk) => {
      text += chunk
    })
    request.on('end', () => {
      asked.push(text.includes('stream_options'))
      if (text.includes('stream_options')) {
        response.writeHead(400, { 'content-type': 'application/json' })
        response.end('{"error":{"message":"Unknown parameter: stream_options","code":"unknown_parameter"}}')
        return
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.end(
        'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
      )
    })
  })
  const { ask } = openProvider(url)
  expect((await ask({ body: chatBody('x', { stream: true }) })).ok).toBe(true)
  expect((await ask({ body: chatBody('x', { stream: true }) })).ok).toBe(true)
  expect(asked).toEqual([true, false, false])
  const own = await ask({ body: chatBody('x', { stream: true, stream_options: { include_usage: true } }) })
  expect(own).toMatchObject({ ok: false, class: 'final', code: 'unknown_parameter' })
})

test('a streamed response ends with the whole response, and every event is passed on in order', async () => {
  const { ask } = await openSimulator({ outputTokens: 40 })
  const { deltas, onDelta } = collectDeltas()
  const whole = bodyOf(await ask({ type: 'response', body: { input: 'hello' } }))
  const streamed = bodyOf(await ask({ type: 'response', body: { input: 'hello', stream: true }, onDelta }))
  const text = (body: JsonObject) => {
    const [item] = body.output as { content: { text: string }[] }[]
    return item?.content[0]?.text
  }
  expect(text(streamed)).toBe(text(whole))
  expect(deltas.map((event) => event.sequence_number)).toEqual(deltas.map((_, index) => index))
  expect(deltas.at(-1)?.type).toBe('response.completed')
  const joined = deltas
    .filter((event) => event.type === 'response.output_text.delta')
    .map((event) => event.delta)
  expect(joined.join('')).toBe(text(whole))
})

test('an incomplete response is an answer, a failed one a failure with its own code', async () => {
  const { ask } = await openSimulator({ outputTokens: 40 })
  const body = { input: 'hello', stream: true, max_output_tokens: 2 }
  expect(await ask({ type: 'response', body })).toMatchObject({ ok: true, body: { status: 'incomplete' } })

  const failed = (code: string) =>
    serveStream(
      `data: {"type":"response.failed","response":{"status":"failed","error":{"code":"${code}"}}}\n\n`,
    )
  const first = await failed('rate_limit_exceeded')
  expect(await first.ask({ type: 'response', body })).toMatchObject({ ok: false, class: 'throttled' })
  const second = await failed('server_error')
  expect(await second.ask({ type: 'response', body })).toMatchObject({ ok: false, class: 'retryable' })
})

test('deltas arrive while the stream is under way', async () => {
  const { ask, simulator } = await openSimulator({ perTokenMs: 5, outputTokens: 40 })
  let inFlightAtFirst = 0
  const onDelta = () => {
    inFlightAtFirst ||= simulator.state().in_flight
  }
  expect((await ask({ body: chatBody('hello', { stream: true }), onDelta })).ok).toBe(true)
  expect(inFlightAtFirst).toBe(1)
})

test('a stream without [DONE] is complete once every choice has its finish reason', async () => {
  const chunk = (reason: string) =>
    `data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":${reason}}]}\n\n`
  const complete = await serveStream(chunk('"stop"'))
  expect((await complete.ask({ body: chatBody('x', { stream: true }) })).ok).toBe(true)
  const cut = await serveStream(chunk('null'))
  const failure = { ok: false, class: 'retryable', code: 'truncated_stream', ambiguous: true }
  expect(await cut.ask({ body: chatBody('x', { stream: true }) })).toMatchObject(failure)
  const halved = await serveStream(`${chunk('null')}data: {"choices":[{"index":0,"del`)
  expect(await halved.ask({ body: chatBody('x', { stream: true }) })).toMatchObject(failure)
  const silent = await serveStream('')
  expect(await silent.ask({ body: chatBody('x', { stream: true }) })).toMatchObject(failure)
})

test('a connection that breaks after the finish reason costs nothing: the answer is there, and paid', async () => {
  const url = await openServer((request, response) => {
    request.resume()
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const text = 'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n'
    response.write(text, () => setTimeout(() => response.socket?.resetAndDestroy(), 30))
  })
  const answer = await openProvider(url).ask({ body: chatBody('x', { stream: true }) })
  expect(answer).toMatchObject({ ok: true, body: { choices: [{ message: { content: 'a' } }] } })
})

test('an abort in mid-stream is an abort, even if the stream ends without an error', async () => {
  const { ask } = await openSimulator({ perTokenMs: 10, outputTokens: 100 })
  const controller = new AbortController()
  const { deltas, onDelta } = collectDeltas()
  const body = chatBody('hello', { stream: true })
  const answer = await ask({
    body,
    signal: controller.signal,
    onDelta: (chunk) => {
      onDelta(chunk)
      if (deltas.length === 3) controller.abort()
    },
  })
  expect(answer).toMatchObject({ ok: false, class: 'aborted', ambiguous: true })
  expect(deltas.length).toBeLessThan(6)
})

test('an answer that turns bad after the caller gave up is an abort', async () => {
  const chunk = 'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}'
  const { ask } = await serveStream(`${chunk}\n\ndata: garbage\n\n`)
  const controller = new AbortController()
  const body = chatBody('x', { stream: true })
  const answer = await ask({ body, signal: controller.signal, onDelta: () => controller.abort() })
  expect(answer).toMatchObject({ ok: false, class: 'aborted' })
})

test('a server that leaves the stream open after [DONE] does not hold up the call', async () => {
  const url = await openServer((request, response) => {
    request.resume()
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(
      'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
    )
  })
  expect((await openProvider(url).ask({ body: chatBody('x', { stream: true }) })).ok).toBe(true)
})

test('a server that cannot stream is understood when it answers in one piece', async () => {
  const { ask } = await serveStream('{"choices":[{"index":0,"message":{"content":"a"}}]}', 'application/json')
  expect(await ask({ body: chatBody('x', { stream: true }) })).toMatchObject({
    ok: true,
    body: { choices: [{}] },
  })
})
