import type { FastifyRequest, onRequestHookHandler } from 'fastify'
import { isLoopback } from '../config/loopback.ts'
import type { Config } from '../config/schema.ts'
import type { Keyring } from '../config/tenants.ts'
import { isListedOrigin } from './cors.ts'
import { ApiError } from './errors.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** A page without data, or a part of one: other sites may link to it. */
    isPage?: boolean
  }
}

const advice = 'while no tenants are configured only this machine is served; tenants with keys lift that'

/**
 * While no key is needed, keeps out foreign web pages, which a browser on this machine would let in. A page may point its own name here
 * (DNS rebinding), so `Host` must be a name of this machine. A page may send requests without reading the answers, so only requests of this
 * service's own pages, or without a browser, are accepted. Pages of the service may be linked from anywhere, and pages listed in
 * `server.cors` may call it. Programs send neither `Origin` nor `Sec-Fetch-Site` and are not affected.
 */
export function createLocalOnlyHook(deps: {
  keyring(): Pick<Keyring, 'open'>
  config(): Config
}): onRequestHookHandler {
  return (request, _reply, done) => {
    const param = deps.keyring().open ? findForeignHeader(request, deps.config()) : null
    if (param === null) return done()
    const what = param === 'host' ? 'is not a name of this machine' : 'says that a page of another site asks'
    done(new ApiError('forbidden', `${param}: ${what}; ${advice}`, { param }))
  }
}

function findForeignHeader(
  request: FastifyRequest,
  config: Config,
): 'host' | 'origin' | 'sec-fetch-site' | null {
  const { host, origin, 'sec-fetch-site': site } = request.headers
  // HTTP/1.0 has no `Host`, but browsers do not use it.
  if (host !== undefined && !isLocalName(host)) return 'host'
  const { isPage } = request.routeOptions.config
  if (isPage && (request.method === 'GET' || request.method === 'HEAD')) return null
  if (isListedOrigin(origin, config)) return null
  if (origin !== undefined && !isOwnOrigin(origin, host)) return 'origin'
  // `none`: the user typed the URL or opened a bookmark.
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return 'sec-fetch-site'
  return null
}

/** A loopback address, or `localhost` and names below it, which resolve to nothing else (RFC 6761, 6.3); with or without a port. */
function isLocalName(host: string): boolean {
  const name = host.toLowerCase().replace(/:\d{1,5}$/, '')
  return isLoopback(name) || name.endsWith('.localhost')
}

/** A page on another port of this machine is foreign. It does not matter whether TLS ends before this process. */
export function isOwnOrigin(origin: string, host: string | undefined): boolean {
  const own = host?.toLowerCase()
  return own !== undefined && [`http://${own}`, `https://${own}`].includes(origin.toLowerCase())
}
