import cors from '@fastify/cors'
import type { Config } from '../config/schema.ts'
import type { Api } from './deps.ts'

/** Methods that the job API has. */
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']

/** Headers of answers that a page may read besides those that every page may. */
const EXPOSED_HEADERS = [
  'content-disposition',
  'idempotent-replayed',
  'location',
  'preference-applied',
  'request-id',
  'retry-after',
  'x-cache',
  'x-dropped-members',
  'x-job-id',
  'x-request-id',
]

/** How long a browser keeps what a preflight said, in s. A change of the configuration reaches every page within that time. */
const PREFLIGHT_SECONDS = 600

/**
 * Lets pages of the origins in `server.cors` call `/v1`: their preflights are answered without a key, and their answers may be
 * read. No cookies and no other credentials of a browser are asked for: keys travel in headers. Call it before keys are checked.
 */
export function registerCors(app: Api, deps: { config(): Config }): void {
  app.register(cors, {
    delegator: (request, callback) => {
      const isListed = isApiPath(request.url) && isListedOrigin(request.headers.origin, deps.config())
      callback(
        null,
        isListed
          ? {
              origin: request.headers.origin as string,
              methods: METHODS,
              exposedHeaders: EXPOSED_HEADERS,
              maxAge: PREFLIGHT_SECONDS,
            }
          : { origin: false },
      )
    },
  })
}

/** Whether `server.cors` names the origin. The operator trusts such a page, so it may also use a service without keys. */
export function isListedOrigin(origin: string | undefined, config: Config): boolean {
  return origin !== undefined && config.server.cors.origins.includes(origin.toLowerCase())
}

function isApiPath(url: string): boolean {
  return url.startsWith('/v1/')
}
