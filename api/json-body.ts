import type { IncomingMessage } from 'node:http'
import type { FastifyRequest } from 'fastify'
import type { Api, ApiLimits } from './deps.ts'
import { ApiError } from './errors.ts'
import { createBodyScanner } from './json-bounds.ts'
import { LARGE_TEXT_BYTES, parseJson, parseLargeJson } from './parse-json.ts'
import { readBody } from './read-body.ts'

/** Accepts only JSON bodies for the routes of `app`. An empty body counts as none. */
export function registerJsonBody(app: Api, limits: ApiLimits): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', async (request: FastifyRequest, payload: IncomingMessage) => {
    refuseEncodings(request.headers['content-encoding'])
    const text = await readBody(payload, {
      limit: limits.bodyBytes,
      timeout: limits.bodyTimeout,
      declared: request.headers['content-length'],
      scanner: createBodyScanner(),
    })
    if (text.length === 0) return undefined
    if (text.length >= LARGE_TEXT_BYTES) return parseLargeJson(text, 'body')
    return parseJson(text, 'body', { isScanned: true })
  })
}

/** Compressed bodies are refused: inflating them would bypass every size limit. */
export function refuseEncodings(contentEncoding: string | undefined): void {
  if (contentEncoding === undefined || contentEncoding.toLowerCase() === 'identity') return
  throw new ApiError('invalid_request', 'content-encoding: compressed bodies are not supported', {
    param: 'content-encoding',
  })
}
