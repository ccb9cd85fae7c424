import cors from '@fastify/cors'
import type { Config } from '../config/schema.ts'
import type { Api } from './deps.ts'

/** Methods of the job API. */
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']

/** Response headers that a page may read besides the safelisted ones. */
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

/** How long a browser caches a preflight, s. A change of the configuration reaches every page within that time. */
const PREFLIGHT_SECONDS = 600

/**
 * Lets pages of the origins in `server.cors` call `/v1`: their preflights are answered without a key, and they may read the answers.
 * Cookies and other browser credentials are not allowed: keys are sent in headers. Call it before keys are checked.
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

/** Whether `server.cors` lists the origin. The operator trusts such a page, so it may also use a service without keys. */
export function isListedOrigin(origin: string | undefined, config: Config): boolean {
  return origin !== undefined && config.server.cors.origins.includes(origin.toLowerCase())
}

function isApiPath(url: string): boolean {
  return url.startsWith('/v1/')
}
