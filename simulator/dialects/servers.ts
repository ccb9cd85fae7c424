import type { JsonObject } from '../../lib/json.ts'
import { isEnd, joinCalls, mapCalls, mapChoices, mapDelta } from './change-chunks.ts'
import type { Dialect } from './dialect.ts'

/** Dialects of servers that you run yourself, and of proxies in front of them. */
export const SERVERS: Record<string, Dialect> = {
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
  plain: {
    contentType: 'text/plain; charset=utf-8',
    end: 'data:  [DONE] \n\n',
    chunks: (chunks) => chunks.flatMap((chunk) => ['event: ping\ndata: {}\n\n', chunk, 'data: \n\n']),
  },
}
