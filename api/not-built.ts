import type { FastifyReply, FastifyRequest } from 'fastify'
import { ApiError } from './errors.ts'

/**
 * Answers 503 for pages that were not built, with the command that builds them; as HTML for browsers.
 *
 * @param what what is missing, such as `the dashboard`
 * @param command the command that builds it
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
