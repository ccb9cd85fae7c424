import type { FastifyReply } from 'fastify'

/**
 * Aborts when the client goes away before its answer is complete, or when one of the other signals does. The framework's
 * own `request.signal` will not do: it listens to the request, which closes once its body is read.
 */
export function abortOnDisconnect(reply: FastifyReply, ...others: AbortSignal[]): AbortSignal {
  const controller = new AbortController()
  reply.raw.once('close', () => controller.abort())
  return AbortSignal.any([controller.signal, ...others])
}
