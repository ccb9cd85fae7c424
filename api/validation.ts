import type { FastifySchemaCompiler } from 'fastify'
import type { z } from 'zod'
import { ApiError } from './errors.ts'
import { parseRequest } from './issues.ts'

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
