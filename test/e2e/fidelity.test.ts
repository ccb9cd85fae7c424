import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text as readText } from 'node:stream/consumers'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import type { Job } from '../../jobs/job.ts'
import { editMembers, findMember, listElements, toOneLine } from '../../lib/json-text.ts'
import { type Stack, startStack } from '../helpers/stack.ts'
import { startUpstream, type Upstream } from '../helpers/upstream.ts'

let stack: Stack
let own: Upstream
let url: string

beforeAll(async () => {
  own = await startUpstream()
  stack = await startStack({
    extra: `
  own:
    kind: openai-compatible
    base_url: ${own.url}
    retry: { max_attempts: 1 }
    models: { sampled: { cache: { mode: off } }, "*": {} }
  claude:
    kind: anthropic
    base_url: ${own.url}
    api_key: unused
    retry: { max_attempts: 1 }
    models: { "*": {} }
webhooks: { secret: a secret of the tests, allow_private_addresses: true }`,
  })
  url = stack.urls[0]!
})
afterAll(async () => {
  await own?.close()
  await stack?.stop()
})
beforeEach(() => {
  own.calls.length = 0
})

/** Members that a double, an order of JavaScript's and `JSON.stringify` would change. */
const ODD =
  '"seed" : 9223372036854775807, "x":[1e400,0.1000000000000000055,-0,1.0,1E+2],"map": {"2":"b","1":"a","b":{"10":1,"9":2}},\n' +
  ' "\\u0061\\/b":"\\ud800\\u00e9\\ud83d\\ude00 \\u2028", "e":{ }'

let count = 0
const chatBody = (members = '') =>
  `{"model": "own/m","messages":[{"role":"user","content":"n\\u006f ${++count}"}], ${ODD}${members}}`
const upstreamBody = (body: string) => editMembers(body, { model: '"m"' })

const chatAnswer = (extra = '') =>
  `{ "id":"chatcmpl-1","object":"chat.completion","created":1700000000, "model":"m",
 "choices":[{"index":0,"message":{"role":"assistant","content":"h\\u0069"},"logprobs":null,"finish_reason":"stop"}],
 "usage":{"prompt_tokens":1.0,"completion_tokens":2,"total_tokens":3}, ${ODD}${extra} }`

function answerWith(text: string): void {
  own.script = (_call, response) => response.writeHead(200, { 'content-type': 'application/json' }).end(text)
}

async function send(method: string, path: string, body?: string, headers: Record<string, string> = {}) {
  const response = await fetch(url + path, {
    method,
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { body }),
  })
  return { status: response.status, headers: response.headers, text: await response.text() }
}

describe('a job', () => {
  test('sends its body and shows its result as text, in every place', async () => {
    const answer = chatAnswer()
    answerWith(answer)
    const hook = Promise.withResolvers<string>()
    const server = createServer(async (request, response) => {
      hook.resolve(await readText(request))
      response.end()
    }).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    onTestFinished(() => {
      server.closeAllConnections()
      server.close()
    })
    const webhook = `{"url":"http://127.0.0.1:${(server.address() as AddressInfo).port}/"}`
    const body = chatBody()
    const created = await send(
      'POST',
      '/v1/jobs',
      `{"type":"chat", "body" : ${body} ,"group":"odd","webhook":${webhook}}`,
    )
    expect(created.status).toBe(202)
    const { id } = JSON.parse(created.text) as Job

    const shown = (await send('GET', `/v1/jobs/${id}?wait=30`)).text
    expect(own.calls.map((call) => call.text)).toEqual([upstreamBody(body)])
    expect(findMember(shown, 'result')).toBe(answer)
    expect(findMember((await send('GET', `/v1/jobs/${id}/request`)).text, 'body')).toBe(body)
    const stream = (await send('GET', `/v1/jobs/${id}/events`)).text
    const last = stream.trimEnd().split('\n').at(-1)!.slice('data: '.length)
    expect(findMember(findMember(last, 'job')!, 'result')).toBe(toOneLine(answer))
    const group = (await send('GET', '/v1/groups/odd/events')).text
    expect(group).toContain(`"result":${toOneLine(answer)}`)
    expect(await hook.promise).toContain(`"result":${answer}`)
  })

  test('in an upload of many is treated like one by itself', async () => {
    answerWith(chatAnswer())
    const [first, second] = [chatBody(), chatBody()]
    const line = (body: string) => `{"type":"chat","group":"bulk-odd","body":${toOneLine(body)}}`
    const ndjson = `${line(first)}\n${line(second)}`
    await send('POST', '/v1/jobs/bulk', ndjson, { 'content-type': 'application/x-ndjson' })
    const array = [chatBody(), chatBody()]
    await send('POST', '/v1/jobs/bulk', `[ ${array.map(line).join(' ,\n')} ]`)
    await send('GET', '/v1/groups/bulk-odd/events')
    const sent = own.calls.map((call) => call.text).sort()
    expect(sent).toEqual([first, second, ...array].map((body) => upstreamBody(toOneLine(body))).sort())
  })

  test('whose body names a member twice is refused, with the place', async () => {
    const body = '{"model":"own/m","messages":[{"role":"user","content":"a","content":"b"}]}'
    const { status, text } = await send('POST', '/v1/jobs', `{"type":"chat","body":${body}}`)
    expect([status, text]).toEqual([400, expect.stringContaining('body.messages[0].content: stands twice')])
  })

  test('that failed is exported and queued again unchanged', async () => {
    own.script = (_call, response) =>
      response.writeHead(400, { 'content-type': 'application/json' }).end('{"error":{"message":"no"}}')
    const body = toOneLine(chatBody())
    const created = await send('POST', '/v1/jobs', `{"type":"chat","body":${body},"group":"failed-odd"}`)
    const { id } = JSON.parse(created.text) as Job
    await send('GET', `/v1/jobs/${id}?wait=30`)
    const exported = (await send('GET', '/v1/failures/export?group=failed-odd')).text
    expect(findMember(findMember(exported, 'create')!, 'body')).toBe(body)
    answerWith(chatAnswer())
    await send('POST', `/v1/jobs/${id}/retry`)
    await send('GET', `/v1/jobs/${id}?wait=30`)
    expect(own.calls.map((call) => call.text)).toEqual([upstreamBody(body), upstreamBody(body)])
  })
})

describe('an OpenAI client', () => {
  test('gets a completion as the provider wrote it, and again out of the cache', async () => {
    const answer = chatAnswer()
    answerWith(answer)
    const body = chatBody()
    const called = await send('POST', '/v1/chat/completions', body)
    const kept = await send('POST', '/v1/chat/completions', body)
    expect([called.headers.get('x-cache'), kept.headers.get('x-cache')]).toEqual(['miss', 'hit'])
    expect([called.text, kept.text]).toEqual([answer, answer])
    expect(own.calls.map((call) => call.text)).toEqual([upstreamBody(body)])
  })

  test('gets chunks as the provider wrote them, and sends its request with what we add', async () => {
    const chunk = (delta: string, finish: string) =>
      `{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":${delta},"finish_reason":${finish}}], ${toOneLine(ODD)}}`
    const chunks = [chunk('{"role":"assistant","content":"h"}', 'null'), chunk('{}', '"stop"')]
    own.script = (_call, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.end([...chunks, '[DONE]'].map((data) => `data: ${data}\n\n`).join(''))
    }
    const body = chatBody(',"stream":true,"stream_options":{"later": 1.0}')
    const { text } = await send('POST', '/v1/chat/completions', body)
    expect(text.trim().split('\n\n')).toEqual([...chunks, '[DONE]'].map((data) => `data: ${data}`))
    const options = '{"later": 1.0,"include_usage":true}'
    expect(own.calls[0]!.text).toBe(editMembers(upstreamBody(body), { stream_options: options }))
    const again = await send('POST', '/v1/chat/completions', body)
    expect(again.headers.get('x-cache')).toBe('hit')
  })

  test('gets a kept completion in chunks that have its odd members', async () => {
    answerWith(chatAnswer())
    const body = chatBody()
    await send('POST', '/v1/chat/completions', body)
    const { text } = await send('POST', '/v1/chat/completions', editMembers(body, { stream: 'true' }))
    for (const event of text.trim().split('\n\n').slice(0, -1)) expect(event).toContain(toOneLine(ODD))
  })

  test('gets a response with ids of ours and all else as the provider wrote it', async () => {
    const answer = `{"id":"resp_1","object":"response","status":"completed","error":null,"output":[{"type":"message","id":"m","role":"assistant","content":[{"type":"output_text","text":"hi","annotations":[{"n":1.0}]}]}],"usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2},${ODD}}`
    answerWith(answer)
    const body = `{"model":"own/m","input":"${++count}","background":false,${ODD}}`
    const { text, headers } = await send('POST', '/v1/responses', body)
    const id = headers.get('x-job-id')!.replace('job_', 'resp_')
    expect(text).toBe(editMembers(answer, { id: `"${id}"` }))
    expect(own.calls[0]!.text).toBe(editMembers(body, { model: '"m"', background: null }))
    expect((await send('GET', `/v1/responses/${id}`)).text).toBe(text)
    const events = (await send('GET', `/v1/responses/${id}?stream=true`)).text
    expect(events).toContain('"annotations":[{"n":1.0}]')
    expect(events.trim().split('\n').at(-1)).toContain(toOneLine(editMembers(answer, { id: `"${id}"` })))
  })

  test('gets the lines of a batch as the provider wrote them', async () => {
    answerWith(chatAnswer())
    const body = toOneLine(chatBody())
    const form = new FormData()
    const line = `{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body": ${body}}`
    form.set('purpose', 'batch')
    form.set('file', new Blob([line]), 'batch.jsonl')
    const file = (await (await fetch(`${url}/v1/files`, { method: 'POST', body: form })).json()) as {
      id: string
    }
    const asked = { input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h' }
    let batch = JSON.parse((await send('POST', '/v1/batches', JSON.stringify(asked))).text)
    while (batch.status !== 'completed') {
      await new Promise((resolve) => setTimeout(resolve, 50))
      batch = JSON.parse((await send('GET', `/v1/batches/${batch.id}`)).text)
    }
    const output = (await send('GET', `/v1/files/${batch.output_file_id}/content`)).text
    expect(findMember(findMember(output, 'response')!, 'body')).toBe(toOneLine(chatAnswer()))
    expect(own.calls.map((call) => call.text)).toEqual([upstreamBody(body)])
  })
})

describe('an answer', () => {
  test('that acts, or depends on state, is bought each time', async () => {
    const answer = `{"id":"resp_1","object":"response","status":"completed","error":null,"output":[],"usage":null}`
    answerWith(answer)
    const body = `{"model":"own/m","conversation":"conv_1","input":"continue"}`
    const first = await send('POST', '/v1/responses', body)
    const both = await Promise.all([send('POST', '/v1/responses', body), send('POST', '/v1/responses', body)])
    expect([first, ...both].map(({ headers }) => headers.get('x-cache'))).toEqual(['off', 'off', 'off'])
    expect(own.calls).toHaveLength(3)
  })

  test('to pictures and texts is kept by its content, and passes unchanged', async () => {
    const answer =
      '{"object":"list","model":"m","data":[{"object":"embedding","index":0,"embedding":[0.10,1e-3]}],"usage":{"total_tokens":3}}'
    answerWith(answer)
    const body = `{"model":"own/m","input":[{"text":"a ${++count}"},{"image":"https://example.com/a.png", "n":1.0},"text"],"embedding_type":"float"}`
    const first = await send('POST', '/v1/embeddings', body)
    const second = await send('POST', '/v1/embeddings', body)
    expect([first.text, second.text]).toEqual([answer, answer])
    expect(second.headers.get('x-cache')).toBe('hit')
    expect(own.calls.map((call) => call.text)).toEqual([upstreamBody(body)])
    const { status, text } = await send(
      'POST',
      '/v1/embeddings',
      '{"model":"own/m","input":[{"text":"a"},[1]]}',
    )
    expect([status, text]).toEqual([400, expect.stringContaining('input[1]')])
  })

  test('to texts passes with what its client asked, by the text', async () => {
    own.script = ({ body }, response) => {
      const inputs = [body.input].flat()
      const data = inputs.map((_, index) => ({ object: 'embedding', index, embedding: 'AACAPwAAAMA=' }))
      response.end(
        JSON.stringify({ object: 'list', model: 'm', data, usage: { prompt_tokens: 3, total_tokens: 3 } }),
      )
    }
    const text = `text ${++count}`
    const plain = `{"model":"own/m","input":"${text}","extra":9223372036854775807, ${ODD}}`
    const first = JSON.parse((await send('POST', '/v1/embeddings', plain)).text)
    expect(own.calls[0]!.text).toBe(editMembers(upstreamBody(plain), { encoding_format: '"base64"' }))
    expect(first.data[0].embedding).toEqual([1, -2])

    const formed = `{"model":"own/m","input":["${text}"],"output_dtype":"int8","encoding_format":"base64","x":1.0}`
    const packed = [
      await send('POST', '/v1/embeddings', formed),
      await send('POST', '/v1/embeddings', formed),
    ]
    expect(own.calls.slice(1).map((call) => call.text)).toEqual([upstreamBody(formed)])
    expect(packed.map((one) => JSON.parse(one.text).data[0].embedding)).toEqual([
      'AACAPwAAAMA=',
      'AACAPwAAAMA=',
    ])
    const other = editMembers(formed, { encoding_format: null })
    expect((await send('POST', '/v1/embeddings', other)).headers.get('x-cache')).toBe('miss')
    expect(own.calls[2]!.text).toBe(upstreamBody(other))
  })

  test('to texts has the members of its provider as they are written, from the provider and from the cache', async () => {
    const said = (vector: string) =>
      `{ "object":"list","data":[{"object":"embedding","index":0,"norm":1.0,"embedding":${vector}}],"model":"m","usage":{"prompt_tokens":3,"total_tokens":3,"cost":0.10}, ${ODD}}`
    answerWith(said('"AACAPwAAAMA="'))
    const body = `{"model":"own/m","input":"text ${++count}"}`
    const answers = [
      await send('POST', '/v1/embeddings', body),
      await send('POST', '/v1/embeddings', body),
      await send('POST', '/v1/embeddings', editMembers(body, { encoding_format: '"base64"' })),
    ]
    expect(answers.map(({ headers }) => headers.get('x-cache'))).toEqual(['miss', 'hit', 'hit'])
    const floats = said('[1,-2]')
    expect(answers.map(({ text }) => text)).toEqual([floats, floats, said('"AACAPwAAAMA="')])
    expect(own.calls).toHaveLength(1)
  })

  test('is not kept where the configuration says so, for a model or a whole installation, as soon as it does', async () => {
    answerWith(chatAnswer())
    const call = async (model: string) => {
      const body = `{"model":"${model}","messages":[{"role":"user","content":"modes"}]}`
      return (await send('POST', '/v1/chat/completions', body)).headers.get('x-cache')
    }
    expect([await call('own/kept'), await call('own/kept')]).toEqual(['miss', 'hit'])
    expect([await call('own/sampled'), await call('own/sampled')]).toEqual(['off', 'off'])
    await stack.rewriteConfig((text) => `${text}\ncache: { mode: off }\n`)
    while ((await call('own/kept')) !== 'off') await new Promise((resolve) => setTimeout(resolve, 50))
    await stack.rewriteConfig((text) => text.replace('cache: { mode: off }\n', ''))
    while ((await call('own/kept')) !== 'hit') await new Promise((resolve) => setTimeout(resolve, 50))
  })
})

describe('Anthropic', () => {
  test('gets tools, schemas, arguments and members of its own as the client wrote them', async () => {
    const schema = '{"type":"object","properties":{"2":{"maximum":9223372036854775807},"1":{"default":1.0}}}'
    const bare = '{"properties":{"b":{},"a":{"const":1e400}}}'
    answerWith(
      `{"id":"msg","type":"message","role":"assistant","model":"m","content":[{"type":"tool_use","id":"t","name":"f","input":{"2":9223372036854775807,"1":1.0}}],"stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":1}}`,
    )
    const args = JSON.stringify('{"b":9223372036854775807,"a":1.0}')
    const { text } = await send(
      'POST',
      '/v1/chat/completions',
      `{"model":"claude/m","max_tokens":10,"top_k":9223372036854775807,"output_config":{"format":{"type":"json_schema","schema":${schema}}},"messages":[{"role":"user","content":"${++count}"},{"role":"assistant","tool_calls":[{"id":"t","type":"function","function":{"name":"f","arguments":${args}}}]},{"role":"tool","tool_call_id":"t","content":"1"}],"tools":[{"type":"function","function":{"name":"f","parameters":${schema}}},{"type":"function","function":{"name":"g","parameters":${bare}}},{"name":"own","input_schema":${schema}}]}`,
    )
    const sent = own.calls[0]!.text
    const tools = findMember(sent, 'tools')!
    const schemas = listElements(tools).map(({ start, end }) =>
      findMember(tools.slice(start, end), 'input_schema'),
    )
    expect(schemas).toEqual([schema, editMembers(bare, { type: '"object"' }), schema])
    expect(findMember(sent, 'top_k')).toBe('9223372036854775807')
    expect(findMember(sent, 'output_config')).toContain(schema)
    expect(sent).toContain('"input":{"b":9223372036854775807,"a":1.0}')
    const { choices } = JSON.parse(text)
    expect(choices[0].message.tool_calls[0].function.arguments).toBe('{"2":9223372036854775807,"1":1.0}')
  })
})
