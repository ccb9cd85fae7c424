import type { MessageCreateParams } from '@anthropic-ai/sdk/resources/messages'
import { describe, expect, test } from 'vitest'
import type { JsonObject, JsonValue } from '../../../lib/json.ts'
import { toMessagesRequest } from '../../../providers/anthropic-request.ts'

const options = { model: 'claude-haiku-4-5', defaultMaxTokens: 4096, onUnsupported: 'refuse' as const }
const user = { role: 'user', content: 'hello' }

function map(members: JsonObject): JsonObject {
  return toMessagesRequest({ model: 'anthropic/x', messages: [user], ...members }, options).body
}
function mapMessages(messages: JsonValue[]): JsonObject {
  const { messages: mapped, system } = map({ messages })
  return { messages: mapped, ...(system === undefined ? {} : { system }) }
}
const tool = { type: 'function', function: { name: 'find', parameters: { type: 'object', properties: {} } } }
const png = 'iVBORw0KGgo='

test('a plain chat becomes a message with the cap that Anthropic demands', () => {
  expect(map({})).toEqual({
    model: 'claude-haiku-4-5',
    max_tokens: 4096,
    messages: [{ role: 'user', content: 'hello' }],
  } satisfies MessageCreateParams)
})

test('the client’s cap is taken, the newer member before the older', () => {
  expect(map({ max_tokens: 10 }).max_tokens).toBe(10)
  expect(map({ max_tokens: 10, max_completion_tokens: 20 }).max_tokens).toBe(20)
  expect(map({ max_tokens: null }).max_tokens).toBe(4096)
})

test('sampling, stops, user and stream have their counterparts', () => {
  expect(
    map({ temperature: 0.2, top_p: 0.9, stop: ['a', 'b'], user: 'u1', stream: true, stream_options: {} }),
  ).toMatchObject({
    temperature: 0.2,
    top_p: 0.9,
    stop_sequences: ['a', 'b'],
    metadata: { user_id: 'u1' },
    stream: true,
  })
  expect(map({ stop: 'a' }).stop_sequences).toEqual(['a'])
  expect(map({ stop: null })).not.toHaveProperty('stop_sequences')
  expect(map({ stream: false, stream_options: null })).toEqual(map({}))
  expect(map({ safety_identifier: 's' }).metadata).toEqual({ user_id: 's' })
  expect(map({ user: 'u', metadata: { user_id: 'own' } }).metadata).toEqual({ user_id: 'own' })
})

test('Anthropic’s own members pass unchanged', () => {
  const own = {
    top_k: 5,
    thinking: { type: 'enabled', budget_tokens: 2000 },
    service_tier: 'standard_only',
    cache_control: { type: 'ephemeral' },
    container: 'c1',
    of_tomorrow: [1],
  }
  expect(map(own)).toMatchObject(own)
})

describe('messages', () => {
  test('of system and developer leave the conversation, in their order', () => {
    expect(mapMessages([{ role: 'system', content: 'Be brief.' }, user])).toEqual({
      system: 'Be brief.',
      messages: [user],
    })
    const cached = { type: 'text', text: 'c', cache_control: { type: 'ephemeral' } }
    expect(
      mapMessages([
        { role: 'system', content: 'a' },
        user,
        { role: 'developer', content: [{ type: 'text', text: 'b' }, cached] },
      ]),
    ).toEqual({
      system: [{ type: 'text', text: 'a' }, { type: 'text', text: 'b' }, cached],
      messages: [user],
    })
    expect(map({ system: 'own', messages: [{ role: 'system', content: 'a' }, user] }).system).toEqual([
      { type: 'text', text: 'own' },
      { type: 'text', text: 'a' },
    ])
  })

  test('carry pictures and files as their bytes or their address, with what else a part has', () => {
    const content = [
      { type: 'text', text: 'see', cache_control: { type: 'ephemeral' } },
      { type: 'image_url', image_url: { url: `data:image/png;base64,${png}`, detail: 'high' } },
      {
        type: 'image_url',
        image_url: { url: 'https://a.example/b.png' },
        cache_control: { type: 'ephemeral' },
      },
      { type: 'file', file: { filename: 'a.pdf', file_data: 'data:application/pdf;base64,JVBERi0=' } },
      { type: 'file', file: { file_data: 'data:text/plain;charset=utf-8;base64,w6Q=' } },
      { type: 'file', file: { file_id: 'file_1' } },
      { type: 'search_result', source: 'own', title: 't', content: [] },
    ]
    expect(mapMessages([{ role: 'user', content }]).messages).toEqual([
      {
        role: 'user',
        content: [
          content[0],
          { type: 'image', source: { type: 'base64', media_type: 'image/png', data: png } },
          {
            type: 'image',
            source: { type: 'url', url: 'https://a.example/b.png' },
            cache_control: { type: 'ephemeral' },
          },
          {
            type: 'document',
            title: 'a.pdf',
            source: { type: 'base64', media_type: 'application/pdf', data: 'JVBERi0=' },
          },
          { type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'ä' } },
          { type: 'document', source: { type: 'file', file_id: 'file_1' } },
          content[6],
        ],
      },
    ])
  })

  test('of tools become uses and results, those of one turn in one message', () => {
    const call = (id: string, text: string) => ({
      id,
      type: 'function',
      function: { name: 'find', arguments: text },
    })
    const mapped = mapMessages([
      user,
      { role: 'assistant', content: '', tool_calls: [call('a', '{"q":1}'), call('b', '')] },
      { role: 'tool', tool_call_id: 'a', content: 'found' },
      { role: 'tool', tool_call_id: 'b', content: [{ type: 'text', text: 'too' }], is_error: true },
      { role: 'assistant', content: 'Done.' },
      { role: 'tool', tool_call_id: 'c', content: 'late' },
    ])
    expect(mapped.messages).toEqual([
      user,
      {
        role: 'assistant',
        content: [
          { type: 'tool_use', id: 'a', name: 'find', input: { q: 1 } },
          { type: 'tool_use', id: 'b', name: 'find', input: {} },
        ],
      },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: 'a', content: 'found' },
          { type: 'tool_result', tool_use_id: 'b', content: [{ type: 'text', text: 'too' }], is_error: true },
        ],
      },
      { role: 'assistant', content: [{ type: 'text', text: 'Done.' }] },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'c', content: 'late' }] },
    ])
  })

  test('of the assistant bring back their thinking first, and leave out empty contents', () => {
    const thinking = { type: 'thinking', thinking: 'hm', signature: 's' }
    const messages = [
      user,
      { role: 'assistant', content: 'Yes.', reasoning_content: 'hm', thinking_blocks: [thinking] },
      { role: 'assistant', content: null },
      { role: 'assistant', content: null, refusal: 'No.' },
    ]
    expect(mapMessages(messages).messages).toEqual([
      user,
      { role: 'assistant', content: [thinking, { type: 'text', text: 'Yes.' }] },
      { role: 'assistant', content: [{ type: 'text', text: 'No.' }] },
    ])
  })
})

describe('tools', () => {
  test('are functions with a schema, or already in Anthropic’s form', () => {
    const strict = {
      type: 'function',
      function: { name: 'f', description: 'd', parameters: null, strict: true },
    }
    const search = { type: 'web_search_20250305', name: 'web_search', max_uses: 1 }
    const cached = { ...tool, cache_control: { type: 'ephemeral' } }
    expect(map({ tools: [strict, search, cached] }).tools).toEqual([
      { name: 'f', description: 'd', input_schema: { type: 'object', properties: {} }, strict: true },
      search,
      { name: 'find', input_schema: tool.function.parameters, cache_control: { type: 'ephemeral' } },
    ])
  })

  test.each<[JsonValue, JsonValue | undefined, JsonObject | undefined]>([
    ['auto', undefined, { type: 'auto' }],
    ['none', undefined, { type: 'none' }],
    ['required', undefined, { type: 'any' }],
    [{ type: 'function', function: { name: 'find' } }, undefined, { type: 'tool', name: 'find' }],
    [{ type: 'any' }, undefined, { type: 'any' }],
    [null, false, { type: 'auto', disable_parallel_tool_use: true }],
    ['required', false, { type: 'any', disable_parallel_tool_use: true }],
    ['none', false, { type: 'none' }],
    [null, true, undefined],
  ])('are chosen by %j, parallel %j, as %j', (tool_choice, parallel, expected) => {
    const members = parallel === undefined ? { tool_choice } : { tool_choice, parallel_tool_calls: parallel }
    expect(map({ tools: [tool], ...members }).tool_choice).toEqual(expected)
  })

  test('that do not exist are not chosen from', () => {
    expect(map({ tools: [], tool_choice: 'auto', parallel_tool_calls: false })).toEqual(map({}))
    expect(() => map({ tool_choice: 'required' })).toThrow('body.tool_choice')
  })
})

test('the format and the effort share one member, and the client’s own value stays', () => {
  const schema = { type: 'object', properties: {} }
  const response_format = { type: 'json_schema', json_schema: { name: 'n', strict: true, schema } }
  expect(map({ response_format, reasoning_effort: 'minimal' })).toMatchObject({
    output_config: { format: { type: 'json_schema', schema }, effort: 'low' },
    thinking: { type: 'adaptive' },
  })
  const thinking = { type: 'enabled', budget_tokens: 1024 }
  expect(map({ reasoning_effort: 'high', thinking, output_config: { effort: 'max' } })).toMatchObject({
    output_config: { effort: 'max' },
    thinking,
  })
  expect(map({ reasoning_effort: 'none' })).toEqual({ ...map({}), thinking: { type: 'disabled' } })
  expect(map({ response_format: { type: 'text' } })).toEqual(map({}))
})

test.each<[string, JsonObject]>([
  ['n', { n: 2 }],
  ['logprobs', { logprobs: true }],
  ['top_logprobs', { top_logprobs: 3 }],
  ['logit_bias', { logit_bias: { 50256: -100 } }],
  ['frequency_penalty', { frequency_penalty: 0.5 }],
  ['presence_penalty', { presence_penalty: 0.5 }],
  ['seed', { seed: 1 }],
  ['store', { store: true }],
  ['modalities', { modalities: ['text', 'audio'] }],
  ['audio', { audio: { voice: 'alloy' } }],
  ['prediction', { prediction: { type: 'content', content: 'x' } }],
  ['functions', { functions: [] }],
  ['function_call', { function_call: 'auto' }],
  ['web_search_options', { web_search_options: {} }],
  ['verbosity', { verbosity: 'low' }],
  ['response_format', { response_format: { type: 'grammar' } }],
  ['reasoning_effort', { reasoning_effort: 'utmost' }],
  ['tool_choice', { tools: [tool], tool_choice: { type: 'allowed_tools' } }],
  ['tools[0]', { tools: [{ type: 'custom', custom: { name: 'c' } }] }],
  ['messages', { messages: 'hello' }],
  ['messages[0].role', { messages: [{ role: 'function', content: 'x' }] }],
  ['messages[0].content[0].type', { messages: [{ role: 'user', content: [{ type: 'input_audio' }] }] }],
  [
    'messages[0].content[0].image_url.url',
    { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:x' } }] }] },
  ],
  [
    'messages[0].content[0].file.file_data',
    { messages: [{ role: 'user', content: [{ type: 'file', file: { file_data: 'data:a/b;base64,x' } }] }] },
  ],
  [
    'messages[0].tool_calls[0].function.arguments',
    { messages: [{ role: 'assistant', tool_calls: [{ function: { name: 'f', arguments: '{"a":' } }] }] },
  ],
  ['messages[0].tool_calls[0]', { messages: [{ role: 'assistant', tool_calls: [{ type: 'custom' }] }] }],
])('%s is refused by its name when it would be lost', (param, members) => {
  expect(() => map(members)).toThrow(expect.objectContaining({ name: 'Error', param }))
  expect(() => map(members)).toThrow(`body.${param}: `)
})

test('a member that asks for nothing is left out', () => {
  const nothing = {
    n: 1,
    logprobs: false,
    top_logprobs: 0,
    logit_bias: {},
    frequency_penalty: 0,
    presence_penalty: 0,
    seed: null,
    store: false,
    modalities: ['text'],
    audio: null,
    verbosity: 'medium',
    prompt_cache_key: 'k',
    user: null,
    tools: null,
    response_format: null,
    reasoning_effort: null,
    thinking: null,
  }
  expect(map(nothing)).toEqual(map({}))
})

describe('a request that Anthropic would refuse is corrected where no meaning is lost', () => {
  const call = (id: unknown, name = 'find'): JsonValue =>
    ({
      ...(id === undefined ? {} : { id }),
      type: 'function',
      function: { name, arguments: '{}' },
    }) as JsonValue
  const result = (id: unknown, content = 'r'): JsonValue =>
    ({ role: 'tool', ...(id === undefined ? {} : { tool_call_id: id }), content }) as JsonValue
  /** The ids of calls and of results, in their order. */
  function idsOf(messages: JsonValue[]): [string[], string[]] {
    const blocks = (mapMessages([user, ...messages]).messages as { content: JsonObject[] }[]).flatMap(
      ({ content }) => (Array.isArray(content) ? content : []),
    )
    return [
      blocks.filter(({ type }) => type === 'tool_use').map(({ id }) => String(id)),
      blocks.filter(({ type }) => type === 'tool_result').map(({ tool_use_id: id }) => String(id)),
    ]
  }

  test.each<[string, unknown[]]>([
    ['other characters', ['call.1:a', 'call.1/a', 'functions.find:0']],
    ['none at all', ['', '']],
    ['missing', [undefined, undefined]],
    ['valid ones', ['toolu_1-A']],
    ['some of each', ['', 'a b', 'ok', undefined]],
  ])('tool ids: %s', (_what, ids) => {
    const calls = { role: 'assistant', content: null, tool_calls: ids.map((id) => call(id)) } as JsonValue
    const [used, answered] = idsOf([calls, ...ids.map((id) => result(id))])
    expect(answered).toEqual(used)
    expect(new Set(used).size).toBe(ids.length)
    for (const id of used) expect(id).toMatch(/^[a-zA-Z0-9_-]+$/)
    if (ids[0] === 'toolu_1-A') expect(used).toEqual(ids)
  })

  test('ids without a name in a later turn belong to the calls of that turn', () => {
    const turn = [{ role: 'assistant', content: null, tool_calls: [call('')] } as JsonValue, result('')]
    const [used, answered] = idsOf([...turn, user, ...turn])
    expect(answered).toEqual(used)
    expect(new Set(used).size).toBe(2)
  })

  test.each([
    ['image/jpg', '/9j/4AAQSkZJRg==', 'image/jpeg'],
    ['image/png', '/9j/4AAQSkZJRg==', 'image/jpeg'],
    ['IMAGE/PNG', 'iVBORw0KGgoAAAA=', 'image/png'],
    ['application/octet-stream', 'R0lGODlhAQABAAAAACw=', 'image/gif'],
    ['image/jpg', 'UklGRiQAAABXRUJQVlA4IBgAAAAwAQCdASoBAAEAAQAcJaQAA3AA/v3AgAA=', 'image/webp'],
    ['image/jpg', 'AAAA', 'image/jpeg'],
  ])('the type of a picture is that of its bytes: %s, %s', (given, data, type) => {
    const url = `data:${given};base64,${data.slice(0, 4)}\n${data.slice(4)}`
    const { messages } = mapMessages([{ role: 'user', content: [{ type: 'image_url', image_url: { url } }] }])
    expect(messages).toMatchObject([
      { content: [{ type: 'image', source: { type: 'base64', media_type: type, data } }] },
    ])
  })

  test('a picture of another kind is refused by its place', () => {
    const content = [{ type: 'image_url', image_url: { url: 'data:image/bmp;base64,Qk0=' } }]
    expect(() => mapMessages([{ role: 'user', content }])).toThrow(
      'body.messages[0].content[0].image_url.url: anthropic accepts JPEG, PNG, GIF and WebP',
    )
  })

  test('an empty stop is left out, one of blanks is refused by its name', () => {
    expect(map({ stop: ['', 'END'] }).stop_sequences).toEqual(['END'])
    expect(map({ stop: '' })).not.toHaveProperty('stop_sequences')
    expect(() => map({ stop: '\n' })).toThrow('body.stop: ')
    expect(() => map({ stop: ['a', ' \t'] })).toThrow('body.stop: ')
  })

  test('an effort gives way to a forced tool, and stays', () => {
    for (const tool_choice of ['required', { type: 'function', function: { name: 'find' } }]) {
      const mapped = map({ tools: [tool], tool_choice, reasoning_effort: 'high' })
      expect(mapped).not.toHaveProperty('thinking')
      expect(mapped.output_config).toEqual({ effort: 'high' })
    }
    expect(() =>
      map({ tools: [tool], tool_choice: 'required', thinking: { type: 'enabled', budget_tokens: 2000 } }),
    ).toThrow('body.thinking: ')
    expect(map({ tools: [tool], tool_choice: 'auto', reasoning_effort: 'high' }).thinking).toEqual({
      type: 'adaptive',
    })
  })

  test('a budget of thinking fits under the cap', () => {
    const thinking = (budget_tokens: number) => ({ type: 'enabled', budget_tokens })
    expect(map({ thinking: thinking(8000), max_tokens: 4000 })).toMatchObject({
      max_tokens: 4000,
      thinking: thinking(3999),
    })
    expect(map({ thinking: thinking(2000), max_tokens: 4000 }).thinking).toEqual(thinking(2000))
    expect(map({ thinking: thinking(8000) })).toMatchObject({ max_tokens: 12096, thinking: thinking(8000) })
    expect(() => map({ thinking: thinking(1024), max_tokens: 1000 })).toThrow('body.thinking.budget_tokens: ')
  })

  test('beside thinking, sampling without an effect is left out, and other sampling is refused by its name', () => {
    const mapped = map({ reasoning_effort: 'low', temperature: 1, top_p: 1 })
    expect(mapped).not.toHaveProperty('temperature')
    expect(mapped).not.toHaveProperty('top_p')
    expect(() => map({ reasoning_effort: 'low', temperature: 0.2 })).toThrow('body.temperature: ')
    expect(() => map({ thinking: { type: 'adaptive' }, top_p: 0.5 })).toThrow('body.top_p: ')
    expect(map({ reasoning_effort: 'none', temperature: 0.2 }).temperature).toBe(0.2)
    expect(() => map({ temperature: 1.5 })).toThrow('body.temperature: ')
  })

  test('of temperature and top_p, which newer models refuse together, the one without an effect is left out', () => {
    expect(map({ temperature: 0.3, top_p: 1 })).not.toHaveProperty('top_p')
    expect(map({ temperature: 1, top_p: 0.3 })).not.toHaveProperty('temperature')
    expect(map({ temperature: 0.3, top_p: 0.3 })).toMatchObject({ temperature: 0.3, top_p: 0.3 })
  })

  test('empty texts beside others, and blanks at the end of a prefill, are left out', () => {
    expect(
      mapMessages([
        { role: 'system', content: '' },
        {
          role: 'user',
          content: [
            { type: 'text', text: '' },
            { type: 'text', text: 'a' },
          ],
        },
        { role: 'assistant', content: '{ \n' },
      ]),
    ).toEqual({
      messages: [
        { role: 'user', content: [{ type: 'text', text: 'a' }] },
        { role: 'assistant', content: [{ type: 'text', text: '{' }] },
      ],
    })
  })
})

describe('an answer in a format', () => {
  const request = (response_format: JsonObject) =>
    toMessagesRequest({ model: 'x', messages: [user], response_format }, options)
  const schemaOf = (schema: JsonObject) =>
    request({ type: 'json_schema', json_schema: { name: 'n', schema } })

  test('json_object is an instruction, and a check that takes code fences away', () => {
    const { body, format } = request({ type: 'json_object' })
    expect(body.system).toMatch(/one JSON object/)
    expect(format!.check('```json\n{"a":1}\n```')).toEqual({ text: '{"a":1}' })
    expect(format!.check(' {"a":1}\n')).toEqual({ text: '{"a":1}' })
    for (const text of ['Sure! {"a":1}', '[1]', '', '```', '"a"'])
      expect(format!.check(text)).toHaveProperty('fault')
  })

  test('keywords that Claude lacks are said in words, and checked', () => {
    const schema = {
      type: 'object',
      properties: {
        age: { type: 'integer', minimum: 0, maximum: 120 },
        name: { type: 'string', maxLength: 3 },
      },
      required: ['age'],
    }
    const { body, format } = schemaOf(schema)
    const sent = (body.output_config as { format: { schema: JsonObject } }).format.schema
    expect(JSON.stringify(sent)).not.toMatch(/"(?:minimum|maximum|maxLength)":/)
    expect(sent).toMatchObject({
      additionalProperties: false,
      properties: { age: { description: expect.stringContaining('maximum: 120') } },
    })
    expect(format!.check('{"age":7}')).toEqual({ text: '{"age":7}' })
    expect(format!.check('{"age":200}')).toEqual({ fault: expect.stringContaining('maximum') })
    expect(format!.check('{"age":7,"name":"long"}')).toHaveProperty('fault')
    expect(format!.check('no JSON')).toHaveProperty('fault')
    expect(JSON.stringify(format!.check('{"age":7,"name":"secret"}'))).not.toContain('secret')
  })

  test('a pattern that would take for ever is not run', () => {
    const { format } = schemaOf({ type: 'object', properties: { a: { type: 'string', pattern: '^(a+)+$' } } })
    expect(format!.check(JSON.stringify({ a: `${'a'.repeat(60)}!` }))).toHaveProperty('text')
  })

  test('a schema without a type is refused by its place', () => {
    expect(() => schemaOf({ properties: {} })).toThrow('body.response_format.json_schema.schema: ')
  })
})

test('with on_unsupported: drop, members without a counterpart are left out and reported', () => {
  const { body, dropped } = toMessagesRequest(
    {
      model: 'x',
      messages: [user],
      seed: 7,
      frequency_penalty: 1,
      logit_bias: { 1: 2 },
      stop: '\n',
      temperature: 1.8,
      reasoning_effort: 'extreme',
      n: 1,
    },
    { ...options, onUnsupported: 'drop' },
  )
  expect(dropped).toEqual([
    'seed',
    'frequency_penalty',
    'logit_bias',
    'stop',
    'reasoning_effort',
    'temperature',
  ])
  expect(body).toEqual({
    model: options.model,
    max_tokens: 4096,
    messages: [{ role: 'user', content: 'hello' }],
  })
})
