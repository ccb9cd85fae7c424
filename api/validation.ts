import type { FastifySchemaCompiler, RouteOptions } from 'fastify'
import { z } from 'zod'
import { ApiError } from './errors.ts'
import { parseRequest } from './issues.ts'

/** Routes for other makers' clients, which may send parameters unknown here. */
const TOLERANT = ['OpenAI-compatible', 'Anthropic-compatible']

/**
 * Makes an unknown query parameter an error: a misspelt filter would otherwise filter nothing. On routes for clients of OpenAI and
 * Anthropic unknown parameters are ignored.
 */
export function refuseUnknownQuery(route: RouteOptions): void {
  const { url, schema, config } = route
  if (schema === undefined || !url.startsWith('/v1/') || schema.tags?.some((tag) => TOLERANT.includes(tag)))
    return
  const known = schema.querystring instanceof z.ZodObject ? Object.keys(schema.querystring.shape) : []
  const prefix = config?.queryPrefix
  // Before the body is validated.
  route.preValidation = [
    ...[route.preValidation ?? []].flat(),
    (request, _reply, done) => {
      const unknown = Object.keys(request.query as object).filter(
        (name) => !known.includes(name) && !(prefix !== undefined && name.startsWith(prefix)),
      )
      const places = unknown.slice(0, 5).map((name) => `query.${name.slice(0, 64)}`)
      const choice = known.length === 0 ? 'it has none' : `it has ${known.join(', ')}`
      const message = `${places.join(', ')}: is not a parameter of this route; ${choice}`
      done(
        unknown.length === 0
          ? undefined
          : new ApiError('invalid_request', message, { param: places[0] ?? null }),
      )
    },
  ]
}

/** Names of the parts of a request in messages: the root, and the prefix of paths in it. */
const parts: Record<string, { root: string; prefix: string }> = {
  body: { root: 'body', prefix: '' },
  querystring: { root: 'query', prefix: 'query' },
  params: { root: 'path', prefix: 'path' },
  headers: { root: 'headers', prefix: 'headers' },
}

/**
 * Validates the parts of a request with their zod schemas. Paths in a JSON body have no prefix: a job's body has a member `body`, so
 * `body.messages[0].role` is right. Routes whose JSON is the provider's body itself pass `bodyPrefix: 'body'` for the same paths.
 */
export function createValidatorCompiler(options: { bodyPrefix: string }): FastifySchemaCompiler<z.ZodType> {
  return ({ schema, httpPart }) => {
    const part = parts[httpPart ?? 'body'] ?? { root: 'request', prefix: '' }
    const prefix = httpPart === 'body' ? options.bodyPrefix : part.prefix
    return (value: unknown) => {
      try {
        return { value: parseRequest(schema, value, part.root, prefix) }
      } catch (error) {
        if (error instanceof ApiError) return { error }
        throw error
      }
    }
  }
}
