import type { FastifyReply, FastifyRequest } from 'fastify'
import { ApiError } from './errors.ts'

/**
 * Says that pages of this process were not built, and how to build them: 503, as HTML for browsers.
 * @param what what is not there, as in `the dashboard`
 * @param command what builds it
 */
export function sayNotBuilt(
  request: FastifyRequest,
  reply: FastifyReply,
  { what, command }: { what: string; command: string },
): FastifyReply {
  if (!wantsHtml(request))
    throw new ApiError('unavailable', `${what} is not built here; build it with: ${command}`)
  return reply
    .code(503)
    .header('cache-control', 'no-store')
    .type('text/html; charset=utf-8')
    .send(
      `<!doctype html>\n<html lang="en"><title>Sluice</title><p>Sluice runs, but ${what} is not built here; build it with: <code>${command}</code>.\n`,
    )
}

export function wantsHtml(request: FastifyRequest): boolean {
  return request.headers.accept?.includes('text/html') ?? false
}
