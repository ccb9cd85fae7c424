import type { FastifySchemaCompiler, RouteOptions } from 'fastify'
import { z } from 'zod'
import { ApiError } from './errors.ts'
import { parseRequest } from './issues.ts'

/** Routes that other makers' clients call, which send what their own servers know besides. */
const TOLERANT = ['OpenAI-compatible', 'Anthropic-compatible']

/**
 * Makes a query parameter that a route does not know a fault: a filter that is misspelt would otherwise filter nothing. Where
 * clients of OpenAI and Anthropic call, what is not known is ignored.
 */
export function refuseUnknownQuery(route: RouteOptions): void {
  const { url, schema, config } = route
  if (schema === undefined || !url.startsWith('/v1/') || schema.tags?.some((tag) => TOLERANT.includes(tag)))
    return
  const known = schema.querystring instanceof z.ZodObject ? Object.keys(schema.querystring.shape) : []
  const prefix = config?.queryPrefix
  // Before the body is looked at, whose faults are another matter.
  route.preValidation = [
    ...[route.preValidation ?? []].flat(),
    (request, _reply, done) => {
      const unknown = Object.keys(request.query as object).filter(
        (name) => !known.includes(name) && !(prefix !== undefined && name.startsWith(prefix)),
      )
      const places = unknown.slice(0, 5).map((name) => `query.${name.slice(0, 64)}`)
      const choice = known.length === 0 ? 'it takes none' : `it knows ${known.join(', ')}`
      const message = `${places.join(', ')}: is no parameter of this route; ${choice}`
      done(
        unknown.length === 0
          ? undefined
          : new ApiError('invalid_request', message, { param: places[0] ?? null }),
      )
    },
  ]
}

/** How the parts of a request are called in messages: the root, and what stands before each place in it. */
const parts: Record<string, { root: string; prefix: string }> = {
  body: { root: 'body', prefix: '' },
  querystring: { root: 'query', prefix: 'query' },
  params: { root: 'path', prefix: 'path' },
  headers: { root: 'headers', prefix: 'headers' },
}

/**
 * Validates the parts of a request with their zod schemas. A fault in a JSON body is placed by its path alone:
 * a job's body has a member `body`, so `body.messages[0].role` reads right. Routes whose own JSON is the
 * provider's body pass `bodyPrefix: 'body'` to read the same.
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
