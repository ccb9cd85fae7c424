import { isJsonObject, type JsonObject, type JsonValue } from '../../lib/json.ts'

/** How a provider says what OpenAI says otherwise. docs/providers.md lists them, with where each was reported. */
export type Dialect = {
  /** A whole chat completion in its words. */
  whole?(body: JsonObject): JsonObject
  /** The chunks of a streamed chat, without `[DONE]`, in its words; a string goes out as it is. */
  chunks?(chunks: JsonObject[]): (JsonObject | string)[]
  /** Of a stream. */
  contentType?: string
  /** What a line ends with. */
  lineEnd?: string
  /** Instead of `data: [DONE]`. */
  end?: string
  /** An embeddings answer in its words. */
  embeddings?(body: JsonObject): JsonObject
  /** The answer with an error status in its words. */
  error?(status: number, error: JsonObject): { status: number; body: JsonValue }
  /** A member that it does not take, and its refusal. */
  refuses?: { member: string; status: number; body: (member: string) => JsonValue }
}

/** Changes every call of a tool in the deltas of a stream; `nth` counts the pieces of one call from 0. */
function mapCalls(chunks: JsonObject[], change: (call: JsonObject, nth: number) => JsonObject): JsonObject[] {
  const pieces = new Map<string, number>()
  return mapChoices(chunks, (choice) => {
    const delta = isJsonObject(choice.delta) ? choice.delta : {}
    if (!Array.isArray(delta.tool_calls)) return choice
    const calls = delta.tool_calls.filter(isJsonObject).map((call) => {
      const key = `${choice.index} ${call.index}`
      const nth = pieces.get(key) ?? 0
      pieces.set(key, nth + 1)
      return change(call, nth)
    })
    return { ...choice, delta: { ...delta, tool_calls: calls } }
  })
}

function mapChoices(chunks: JsonObject[], change: (choice: JsonObject) => JsonObject): JsonObject[] {
  return chunks.map((chunk) =>
    Array.isArray(chunk.choices)
      ? { ...chunk, choices: chunk.choices.filter(isJsonObject).map(change) }
      : chunk,
  )
}

function mapDelta(
  chunks: JsonObject[],
  change: (delta: JsonObject, choice: JsonObject) => JsonObject,
): JsonObject[] {
  return mapChoices(chunks, (choice) =>
    isJsonObject(choice.delta) ? { ...choice, delta: change(choice.delta, choice) } : choice,
  )
}

function without(value: JsonObject, ...names: string[]): JsonObject {
  return Object.fromEntries(Object.entries(value).filter(([name]) => !names.includes(name)))
}

/** Pieces of one call joined into the first, as servers send calls that do not stream their arguments. */
function joinCalls(chunks: JsonObject[]): JsonObject[] {
  const whole = new Map<string, JsonObject>()
  const joined = mapDelta(chunks, (delta, choice) => {
    if (!Array.isArray(delta.tool_calls)) return delta
    const opened = delta.tool_calls.filter(isJsonObject).flatMap((call) => {
      const key = `${choice.index} ${call.index}`
      const known = whole.get(key)
      if (!known) {
        const copy = { ...call, function: { ...(call.function as JsonObject) } }
        whole.set(key, copy)
        return [copy]
      }
      const called = known.function as JsonObject
      called.arguments = `${called.arguments ?? ''}${(call.function as JsonObject).arguments ?? ''}`
      return []
    })
    return opened.length > 0 ? { ...delta, tool_calls: opened } : without(delta, 'tool_calls')
  })
  return joined
}

const RULES = ['hate', 'self_harm', 'sexual', 'violence']
const UNFILTERED = Object.fromEntries(RULES.map((rule) => [rule, { filtered: false, severity: 'safe' }]))

export const DIALECTS: Record<string, Dialect> = {
  azure: {
    chunks(chunks) {
      const [first] = chunks
      const head = { id: '', object: '', created: 0, model: '' }
      const filters = [{ prompt_index: 0, content_filter_results: UNFILTERED }]
      const offsets = { check_offset: 44, start_offset: 44, end_offset: 198 }
      const choice = {
        index: 0,
        finish_reason: null,
        content_filter_results: UNFILTERED,
        content_filter_offsets: offsets,
      }
      return first === undefined
        ? []
        : [
            { ...head, choices: [], prompt_filter_results: filters },
            ...chunks,
            { ...head, choices: [choice] },
          ]
    },
  },
  gemini: {
    chunks: (chunks) =>
      mapDelta(joinCalls(chunks), (delta) => ({
        role: 'assistant',
        ...delta,
        ...(Array.isArray(delta.tool_calls)
          ? { tool_calls: delta.tool_calls.filter(isJsonObject).map((call) => without(call, 'index')) }
          : {}),
      })),
    embeddings: (body) => ({
      ...body,
      data: (body.data as JsonObject[]).map((entry) => (entry.index === 0 ? without(entry, 'index') : entry)),
    }),
    error: (status, error) => ({
      status,
      body: [
        { error: { code: status, message: error.message ?? '', status: STATUSES[status] ?? 'UNKNOWN' } },
      ],
    }),
  },
  mistral: {
    whole: (body) => ({
      ...body,
      choices: (body.choices as JsonObject[]).map((choice) => {
        const message = choice.message as JsonObject
        return typeof message.content === 'string'
          ? {
              ...choice,
              message: { ...message, content: [THINKING, { type: 'text', text: message.content }] },
            }
          : choice
      }),
    }),
    chunks: (chunks) => {
      const thought = {
        ...chunks[0],
        choices: [{ index: 0, delta: { content: [THINKING] }, finish_reason: null }],
      }
      const hasText = chunks.some((chunk) => JSON.stringify(chunk).includes('"content":"'))
      const mapped = mapCalls(chunks, (call) => without(call, 'type'))
      return hasText ? [mapped[0]!, thought, ...mapped.slice(1)] : mapped
    },
    refuses: {
      member: 'stream_options',
      status: 422,
      body: (member) => ({
        object: 'error',
        message: {
          detail: [{ type: 'extra_forbidden', loc: ['body', member], msg: 'Extra inputs are not permitted' }],
        },
        type: 'invalid_request_error',
        param: null,
        code: null,
      }),
    },
  },
  openrouter: {
    chunks: (chunks) => [
      ': OPENROUTER PROCESSING\n\n',
      ...chunks.map((chunk) => ({ ...chunk, provider: 'Simulated' })),
      ': OPENROUTER PROCESSING\n\n',
    ],
    error: (status, error) => ({
      status,
      body: {
        error: {
          message: 'Provider returned error',
          code: status,
          metadata: { raw: JSON.stringify({ error }), provider_name: 'Simulated' },
        },
        user_id: 'user_simulated',
      },
    }),
  },
  groq: {
    chunks: (chunks) =>
      chunks.map((chunk, at) => {
        const { usage, ...rest } = chunk
        const own = isJsonObject(usage) ? { id: 'req_simulated', usage } : { id: 'req_simulated' }
        return at === 0 || isJsonObject(usage) ? { ...rest, x_groq: own } : rest
      }),
  },
  deepseek: {
    chunks: (chunks) => [
      ': keep-alive\n\n',
      ...mapDelta(chunks, (delta) => ({ ...delta, reasoning_content: null })),
    ],
  },
  dashscope: {
    chunks: (chunks) =>
      mapCalls(chunks, (call, nth) =>
        nth === 0
          ? call
          : { ...call, id: '', type: '', function: { name: '', ...(call.function as JsonObject) } },
      ),
    error: (status, error) => ({
      status,
      body: { error, request_id: 'simulated' },
    }),
  },
  moonshot: {
    chunks: (chunks) => {
      const usage = chunks.map((chunk) => chunk.usage).find(isJsonObject)
      return mapChoices(
        chunks.filter((chunk) => !isJsonObject(chunk.usage)),
        (choice) => (usage !== undefined && isEnd(choice) ? { ...choice, usage } : choice),
      )
    },
    error: (status, error) => ({
      status,
      body: {
        error: {
          message: error.message ?? '',
          type: status === 429 ? 'rate_limit_reached_error' : 'invalid_request_error',
        },
      },
    }),
  },
  vllm: {
    chunks: (chunks) =>
      mapCalls(
        mapChoices(chunks, (choice) => ({ ...choice, stop_reason: null })),
        (call) => call,
      ),
    error: (status, error) => ({
      status,
      body: {
        object: 'error',
        message: error.message ?? '',
        type: 'BadRequestError',
        param: null,
        code: status,
      },
    }),
    refuses: {
      member: 'encoding_format',
      status: 400,
      body: (member) => ({
        object: 'error',
        message: `${member} is not supported`,
        type: 'BadRequestError',
        code: 400,
      }),
    },
  },
  sglang: {
    chunks: (chunks) =>
      mapChoices(chunks, (choice) => ({ ...choice, matched_stop: isEnd(choice) ? 2 : null })),
    error: (status, error) => ({
      status,
      body: { object: 'error', message: error.message ?? '', code: status },
    }),
  },
  'llama.cpp': {
    chunks: (chunks) => chunks.map((chunk, at) => ({ ...chunk, created: Number(chunk.created) + (at >> 4) })),
    error: (status, error) => ({
      status,
      body: { error: { code: status, message: error.message ?? '', type: 'invalid_request_error' } },
    }),
  },
  ollama: {
    chunks: (chunks) =>
      mapCalls(
        mapDelta(joinCalls(chunks), (delta) => ({ role: 'assistant', content: '', ...delta })),
        (call) => ({ ...call, index: 0 }),
      ),
    error: (status, error) => ({
      status,
      body: { error: { message: error.message ?? '', type: 'api_error', param: null, code: null } },
    }),
  },
  'lm-studio': {
    contentType: 'text/event-stream',
    lineEnd: '\r\n',
    chunks: (chunks) =>
      mapCalls(chunks, (call, nth) =>
        nth === 0 ? call : { ...call, function: { name: '', ...(call.function as JsonObject) } },
      ),
    error: (status, error) => ({ status, body: { error: error.message ?? '' } }),
  },
  minimax: {
    chunks: (chunks) => {
      const message: JsonObject = { role: 'assistant', content: '' }
      for (const chunk of chunks) {
        const [choice] = (chunk.choices ?? []) as JsonObject[]
        const delta = isJsonObject(choice?.delta) ? choice.delta : {}
        if (typeof delta.content === 'string') message.content = `${message.content}${delta.content}`
      }
      const usage = chunks.map((chunk) => chunk.usage).find(isJsonObject)
      const choice = { index: 0, finish_reason: 'stop', message }
      const last = {
        ...chunks[0],
        object: 'chat.completion',
        choices: [choice],
        base_resp: OK,
        ...(usage ? { usage } : {}),
      }
      if (message.content === '') return chunks
      const zero = { total_tokens: 0, total_characters: 0 }
      const shown = mapDelta(
        chunks.filter((chunk) => !isJsonObject(chunk.usage)),
        (delta) => ({ role: '', ...delta }),
      )
      return [...shown.map((chunk) => ({ ...chunk, usage: zero })), last]
    },
    error: (status, error) => ({
      status: 200,
      body: { base_resp: { status_code: status === 429 ? 1002 : 2013, status_msg: error.message ?? '' } },
    }),
  },
  voyage: {
    embeddings: (body) => ({
      ...body,
      usage: { total_tokens: isJsonObject(body.usage) ? (body.usage.total_tokens ?? 0) : 0 },
    }),
    error: (status, error) => ({ status, body: { detail: error.message ?? '' } }),
  },
  plain: {
    contentType: 'text/plain; charset=utf-8',
    end: 'data:  [DONE] \n\n',
    chunks: (chunks) => chunks.flatMap((chunk) => ['event: ping\ndata: {}\n\n', chunk, 'data: \n\n']),
  },
}

const OK = { status_code: 0, status_msg: '' }
const THINKING = { type: 'thinking', thinking: [{ type: 'text', text: 'Let me see.' }] }
const STATUSES: Record<number, string> = {
  400: 'INVALID_ARGUMENT',
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  404: 'NOT_FOUND',
  429: 'RESOURCE_EXHAUSTED',
  500: 'INTERNAL',
  503: 'UNAVAILABLE',
}

function isEnd(choice: JsonObject): boolean {
  return typeof choice.finish_reason === 'string'
}

/** A dialect by its name; undefined where there is none. */
export function findDialect(name: string): Dialect | undefined {
  return Object.hasOwn(DIALECTS, name) ? DIALECTS[name] : undefined
}
