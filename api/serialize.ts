import type { FastifySerializerCompiler } from 'fastify'
import { ResponseSerializationError } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { withUnparsedResult } from '../jobs/job-result.ts'
import { stringifyJson } from '../lib/json-source.ts'

/** Serializes answers by their zod schemas. Objects passed on from a provider (`passedOn` in the schemas) keep their original text. */
export const serializerCompiler: FastifySerializerCompiler<z.ZodType> = ({ schema, method, url }) => {
  const response = schema instanceof z.ZodType ? schema : (schema as { properties: z.ZodType }).properties
  return (data) => {
    const encoded = z.safeEncode(response, withUnparsedResult(data))
    if (encoded.error) throw new ResponseSerializationError(method, url, { cause: encoded.error })
    return stringifyJson(encoded.data)
  }
}
