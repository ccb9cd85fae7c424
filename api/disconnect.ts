import type { FastifyReply } from 'fastify'

/** A string as the abort reason: every answer ends with an abort, and creating an error takes tens of µs. */
const GONE = 'the connection is closed'

/**
 * Aborts when the client disconnects before its answer is complete, or when another signal does. The framework's `request.signal` cannot be
 * used: it listens to the request, which closes once its body is read.
 */
export function abortOnDisconnect(reply: FastifyReply, ...others: AbortSignal[]): AbortSignal {
  const controller = new AbortController()
  if (reply.raw.destroyed) controller.abort(GONE)
  reply.raw.once('close', () => controller.abort(GONE))
  return others.length === 0 ? controller.signal : AbortSignal.any([controller.signal, ...others])
}
