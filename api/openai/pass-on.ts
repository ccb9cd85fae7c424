import type { FastifyReply } from 'fastify'
import { isJsonObject, type JsonObject } from '../../lib/json.ts'
import { stringifyJson } from '../../lib/json-source.ts'
import type { StateAnswer } from '../../providers/state-requests.ts'
import { describeFailure } from './failure.ts'

/** Sends a provider's answer unchanged, or its error in the shape that clients read. */
export function passOn(reply: FastifyReply, answer: StateAnswer): FastifyReply {
  const send = (status: number, body: JsonObject) =>
    reply.code(status).type('application/json; charset=utf-8').serializer(stringifyJson).send(body)
  if (answer.ok) return send(200, answer.body)
  const { status: upstream, error: given } = answer
  const { status, error, isRetryable } = describeFailure({
    code: upstream === null ? 'connection_error' : 'provider_error',
    message: answer.message,
    provider_status: upstream,
    retryable: upstream === null || upstream === 429 || upstream >= 500,
    ...(isJsonObject(given) && Object.keys(given).length > 0 ? { provider_error: given } : {}),
  })
  if (isRetryable) reply.header('retry-after', '1')
  else reply.header('x-should-retry', 'false')
  return send(status, { error })
}
