import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { refuseListening } from '../lib/system-refusal.ts'

export type ListenerDeps = {
  host: string
  port: number
  /** Whether the lanes make progress and the store answers. */
  ready: () => Promise<{ ok: boolean; reason?: string }>
  /** What the readiness probe says about the history; empty: there is none. */
  history: () => Promise<object>
  metrics: () => Promise<{ contentType: string; text: string }>
  version: string
  onError: (error: unknown, what: string) => void
}

/** A worker's server that runs. `url`: its address. */
export type HealthListener = { url: string; close(): Promise<void> }

type HttpAnswer = { status: number; contentType?: string; body: string }

/** Time-out of a connection, ms. No client needs to hold one here. */
const TIMEOUT_MS = 10_000
const MOST_CONNECTIONS = 64

/**
 * A small server of the worker, for supervisors and Prometheus: `/healthz`, `/readyz`, `/metrics`. It needs no key, and
 * accepts neither bodies nor parameters.
 */
export async function startListener(deps: ListenerDeps): Promise<HealthListener> {
  const routes: Record<string, () => Promise<HttpAnswer>> = {
    '/healthz': async () => toJson(200, { status: 'ok', version: deps.version }),
    '/readyz': async () => {
      const { ok, reason } = await deps.ready()
      const history = await deps.history()
      return ok
        ? toJson(200, { status: 'ok', version: deps.version, ...history })
        : refuse(503, 'unavailable', reason ?? 'not ready')
    },
    '/metrics': async () => {
      const { contentType, text } = await deps.metrics()
      return { status: 200, contentType, body: text }
    },
  }

  async function answer({ method, url = '' }: IncomingMessage): Promise<HttpAnswer> {
    if (method !== 'GET' && method !== 'HEAD') return refuse(405, 'method_not_allowed', 'only GET')
    const path = url.split('?', 1)[0]!
    const route = Object.hasOwn(routes, path) ? routes[path] : undefined
    if (route === undefined) return refuse(404, 'not_found', 'there is no such route')
    try {
      return await route()
    } catch (error) {
      deps.onError(error, `answering ${path}`)
      return refuse(500, 'internal_error', 'something went wrong')
    }
  }

  const server = createServer(
    { requestTimeout: TIMEOUT_MS, headersTimeout: TIMEOUT_MS },
    (request, response) => {
      request.resume() // reads and drops a body
      answer(request).then((found) => send(response, found, request.method === 'HEAD'))
    },
  )
  server.maxConnections = MOST_CONNECTIONS
  await new Promise<void>((resolve, reject) => {
    const refuse = (error: unknown) =>
      reject(
        refuseListening(error, deps, {
          host: 'worker.listen.host or WORKER_HOST',
          port: 'worker.listen.port or WORKER_PORT',
        }),
      )
    server.once('error', refuse)
    server.listen(deps.port, deps.host, () => {
      server.off('error', refuse)
      resolve()
    })
  })
  server.on('error', (error) => deps.onError(error, "the worker's port"))
  const { address, family, port } = server.address() as AddressInfo
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
  }
}

function send(response: ServerResponse, { status, contentType, body }: HttpAnswer, isHead: boolean): void {
  response.writeHead(status, {
    'content-type': contentType ?? 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  })
  response.end(isHead ? undefined : body)
}

function refuse(status: number, code: string, message: string): HttpAnswer {
  const type = status < 500 ? 'invalid_request_error' : 'server_error'
  return toJson(status, { error: { message, type, param: null, code } })
}

function toJson(status: number, body: object): HttpAnswer {
  return { status, body: JSON.stringify(body) }
}
