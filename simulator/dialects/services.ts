import { isJsonObject, type JsonObject } from '../../lib/json.ts'
import { isEnd, joinCalls, mapCalls, mapChoices, mapDelta, without } from './change-chunks.ts'
import type { Dialect } from './dialect.ts'

const RULES = ['hate', 'self_harm', 'sexual', 'violence']
const UNFILTERED = Object.fromEntries(RULES.map((rule) => [rule, { filtered: false, severity: 'safe' }]))
const OK = { status_code: 0, status_msg: '' }
const THINKING = { type: 'thinking', thinking: [{ type: 'text', text: 'Let me see.' }] }
const ZHIPU_CODES: Record<number, string> = {
  400: '1214',
  401: '1000',
  404: '1211',
  429: '1302',
  500: '1234',
}
const STATUSES: Record<number, string> = {
  400: 'INVALID_ARGUMENT',
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  404: 'NOT_FOUND',
  429: 'RESOURCE_EXHAUSTED',
  500: 'INTERNAL',
  503: 'UNAVAILABLE',
}

/** Dialects of hosted services. */
export const SERVICES: Record<string, Dialect> = {
  openai: {
    chunks: (chunks) =>
      chunks.map((chunk, at) => ({
        ...chunk,
        service_tier: 'default',
        usage: chunk.usage ?? null,
        obfuscation: 'padding'.slice(at % 7),
      })),
  },
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
  zhipu: {
    chunks: (chunks) => {
      const usage = chunks.map((chunk) => chunk.usage).find(isJsonObject)
      return mapDelta(joinCalls(chunks.filter((chunk) => !isJsonObject(chunk.usage))), (delta) => ({
        content: '',
        ...delta,
        role: 'assistant',
      })).map((chunk) => {
        const isLast = (chunk.choices as JsonObject[]).some(isEnd)
        return { ...without(chunk, 'object'), ...(usage && isLast ? { usage } : {}) }
      })
    },
    error: (status, error) => ({
      status,
      body: {
        error: { code: ZHIPU_CODES[status] ?? '1234', message: error.message ?? '' },
        request_id: 'simulated',
      },
    }),
  },
  voyage: {
    embeddings: (body) => ({
      ...body,
      usage: { total_tokens: isJsonObject(body.usage) ? (body.usage.total_tokens ?? 0) : 0 },
    }),
    error: (status, error) => ({ status, body: { detail: error.message ?? '' } }),
  },
}
