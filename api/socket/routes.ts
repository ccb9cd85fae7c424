import type { IncomingMessage } from 'node:http'
import websocket from '@fastify/websocket'
import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { authenticate, freshenFor, readKeyHeader } from '../auth.ts'
import { isListedOrigin } from '../cors.ts'
import type { Api, RouteContext } from '../deps.ts'
import { ApiError } from '../errors.ts'
import { isOwnOrigin } from '../local-only.ts'
import { errorResponses } from '../schemas/common.ts'
import { serveSocket } from './connection.ts'

const SOCKET_PATH = '/v1/ws'

const response = {
  101: z.undefined().describe('The WebSocket is open. docs/events.md has its messages.'),
  ...errorResponses,
}

/** Whether a request asks for a socket. */
export function isForSocket({ headers, url = '' }: IncomingMessage): boolean {
  return headers.upgrade?.toLowerCase() === 'websocket' && url.split('?')[0] === SOCKET_PATH
}

/** Events and submissions over one socket. */
export async function registerSocketRoute(app: Api, context: RouteContext): Promise<void> {
  const { deps, limits } = context
  await app.register(websocket, {
    options: { maxPayload: limits.socketMessageBytes, perMessageDeflate: false },
    // Each socket closes itself, with its own code.
    preClose: (done) => done(),
    // Bad frames of the client, or network errors. The socket closes by itself (1002, 1007, 1009, 1006).
    errorHandler: (error, _socket, request) => request.log.debug({ err: error }, 'a socket broke'),
  })
  // If a request does not become a socket, nobody else closes its connection.
  app.addHook('onResponse', (request, _reply, done) => {
    if (isForSocket(request.raw)) request.raw.socket.destroySoon()
    done()
  })
  app.route({
    method: 'GET',
    url: SOCKET_PATH,
    exposeHeadRoute: false,
    // The key may come in the first message.
    config: { access: 'public' },
    schema: {
      tags: ['Events'],
      operationId: 'openSocket',
      summary: 'Follow and submit over a WebSocket',
      description:
        'The key in `Authorization`, or within 5 s as the first message: `{"type":"auth","key":"…"}`. Pages of other origins are refused. ' +
        'Messages are JSON, at most 1 MiB each.',
      response,
    },
    onRequest: async (request) => {
      checkOrigin(request, context)
      const key = readKey(request)
      if (key === null) return
      await freshenFor(key.authorization, deps.tenants)
      authenticate(key, 'read', deps.tenants.keyring())
    },
    handler: async (_request, reply) => {
      reply.header('upgrade', 'websocket')
      throw new ApiError('upgrade_required', `${SOCKET_PATH} is a WebSocket: send Upgrade: websocket`)
    },
    wsHandler(socket, request) {
      serveSocket(socket, { id: request.id, key: readKey(request), log: request.log }, context)
    },
  })
}

function readKey(request: FastifyRequest) {
  const authorization = readKeyHeader(request)
  if (authorization === undefined) return null
  const actsAs = request.headers['x-tenant']
  return { authorization, actsAs: actsAs === undefined ? undefined : String(actsAs) }
}

/** A browser does not let foreign pages read HTTP answers, but lets them use WebSockets. */
function checkOrigin({ headers }: FastifyRequest, { deps }: RouteContext): void {
  const { origin, host } = headers
  if (origin === undefined || isOwnOrigin(origin, host) || isListedOrigin(origin, deps.config())) return
  const { public_url } = deps.config().server
  if (public_url !== undefined && new URL(public_url).origin === origin.toLowerCase()) return
  throw new ApiError('forbidden', 'origin: the request comes from a page of another site', {
    param: 'origin',
  })
}
