import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import helmet from 'helmet'
import type { Api } from './deps.ts'

/**
 * Adds the security headers for browsers to every answer. They are always the same, so helmet is run once: as a middleware it would build
 * them for each request, which took 4 % of the time of a call.
 */
export function addSecurityHeaders(app: Api): void {
  const headers = readSecurityHeaders()
  app.addHook('onRequest', (_request, reply, done) => {
    reply.headers(headers)
    done()
  })
}

function readSecurityHeaders(): Record<string, string> {
  const response = new ServerResponse(new IncomingMessage(new Socket()))
  const write = helmet({
    // Only the proxy that terminates TLS knows whether a host uses only TLS.
    strictTransportSecurity: false,
    contentSecurityPolicy: {
      useDefaults: false,
      directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] },
    },
  })
  write(response.req, response, (error?: unknown) => {
    if (error) throw error
  })
  return Object.fromEntries(
    Object.entries(response.getHeaders()).map(([name, value]) => [name, String(value)]),
  )
}
