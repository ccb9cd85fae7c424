import type { WebSocket } from '@fastify/websocket'
import type { Tenant } from '../../config/tenants.ts'
import type { JsonObject } from '../../lib/json.ts'
import { authenticate, freshenFor } from '../auth.ts'
import type { RouteContext } from '../deps.ts'
import { toApiError } from '../error-replies.ts'
import { ApiError, toErrorMembers } from '../errors.ts'
import { checkIdempotencyKey } from '../idempotency-key.ts'
import { parseRequest } from '../issues.ts'
import { acceptOrRetry } from '../jobs/accept.ts'
import { createJobSchema } from '../jobs/create-schema.ts'
import { toNewJob } from '../jobs/submit.ts'
import { requireOwnConversation } from '../openai/own-state.ts'
import { keepAlive } from './keep-alive.ts'
import { type ClientMessage, MessageError, parseMessage } from './messages.ts'
import { createOutlet } from './outlet.ts'
import { createSubscriptions, type Subscriptions } from './subscriptions.ts'

/** Close codes of the server; see docs/events.md. */
const CLOSE = { closing: 1001, refused: 1008, tooSlow: 1013, keyIsGone: 4401 } as const

/** Messages that may wait while one is handled. Then no more are read. */
const MAX_WAITING = 16

type Key = { authorization: string | undefined; actsAs: string | undefined }

/** The owner of a socket. */
type Session = {
  tenant: Tenant
  caller: string
  key: Key
  subscriptions: Subscriptions
}

export type SocketRequest = {
  id: string
  /** The key in the headers; null: a message has to send it. */
  key: Key | null
  log: {
    debug(line: object, text: string): void
    info(line: object, text: string): void
    error(line: object, text: string): void
  }
}

/** Serves one socket until it is closed. */
export function serveSocket(socket: WebSocket, request: SocketRequest, context: RouteContext): void {
  const { deps, limits, streams, closing } = context
  const { metrics } = deps.server
  const openedAt = performance.now()
  let session: Session | null = null
  let release = () => {}
  const counts = { in: 0, out: 0 }
  let isAnswering = true

  const outlet = createOutlet({
    socket,
    bufferBytes: limits.socketBufferBytes,
    patienceMs: limits.socketPatience,
    onSent(type) {
      counts.out++
      metrics.onSocketMessage('out', type)
    },
    onTooSlow: () => end(CLOSE.tooSlow, 'reads too slowly; continue from the last cursor'),
  })

  function end(code: number, reason: string): void {
    session?.subscriptions.close()
    socket.close(code, reason)
    // Otherwise the client's close frame would not be read.
    if (socket.isPaused) socket.resume()
  }

  const refuse = (id: string | null, error: unknown) => {
    const shown = toApiError(error, deps.server.isUnavailable)
    if (shown.code === 'internal_error') request.log.error({ err: error }, 'a message could not be answered')
    return outlet.send({ type: 'error', id, error: toErrorMembers(shown) })
  }

  async function open(key: Key): Promise<Session> {
    await freshenFor(key.authorization, deps.tenants)
    if (socket.readyState !== socket.OPEN) throw new ApiError('unavailable', 'the socket is closed')
    const { caller, tenant } = authenticate(key, 'read', deps.tenants.keyring())
    const holder = {
      authorization: key.authorization,
      caller: caller.name,
      needs: caller.name === tenant.name ? ('read' as const) : ('admin' as const),
    }
    const held = streams.hold(holder)
    release = held.release
    held.signal.addEventListener('abort', () => end(CLOSE.keyIsGone, 'the key is no longer valid'))
    const subscriptions = createSubscriptions({
      context,
      tenant: tenant.name,
      outlet,
      hold: () => streams.hold(holder).release,
      onError: (error) => request.log.error({ err: error }, 'a subscription broke'),
    })
    return { tenant, caller: caller.name, key, subscriptions }
  }

  /** Refuses the socket: sends the reason, then closes it. */
  async function turnAway(error: unknown): Promise<void> {
    await refuse(null, error)
    const code = error instanceof ApiError ? error.code : 'internal_error'
    if (code === 'unauthorized') return end(CLOSE.keyIsGone, code)
    const isForLater = error instanceof ApiError && error.retryAfterSeconds !== null
    end(isForLater ? CLOSE.tooSlow : CLOSE.refused, code)
  }

  async function answer(message: ClientMessage): Promise<void> {
    // Browsers cannot send protocol pings. This answer tells them that the connection is alive.
    if (message.type === 'ping') return outlet.send({ type: 'pong', id: message.id ?? null })
    if (message.type === 'auth') {
      if (session !== null) {
        // If no key is needed, a key that is sent anyway is ignored.
        if (deps.tenants.keyring().open) return
        throw new ApiError('invalid_request', 'type: the socket already has its key', { param: 'type' })
      }
      try {
        session = await open({ authorization: `Bearer ${message.key}`, actsAs: message.tenant })
        clearTimeout(authTimer)
      } catch (error) {
        await turnAway(error)
      }
      return
    }
    if (session === null) {
      throw new ApiError('unauthorized', 'send the key first: {"type":"auth","key":"…"}')
    }
    if (message.type === 'subscribe') await session.subscriptions.add(message)
    else if (message.type === 'unsubscribe') await session.subscriptions.remove(message.id)
    else await submit(session, message.id, message.job as JsonObject, message.idempotency_key)
  }

  async function submit(
    { key }: Session,
    id: string,
    create: JsonObject,
    idempotencyKey: string | undefined,
  ) {
    // With the current configuration.
    await freshenFor(key.authorization, deps.tenants)
    const { tenant } = authenticate(key, 'jobs', deps.tenants.keyring())
    const job = parseRequest(createJobSchema, create, 'job')
    await requireOwnConversation(tenant.name, job.type, job.body as JsonObject, deps)
    const newJob = toNewJob(
      tenant,
      job,
      idempotencyKey === undefined ? null : checkIdempotencyKey(idempotencyKey),
      deps,
    )
    const accepted = await acceptOrRetry({ ...newJob, requestId: request.id }, 'replay', deps)
    await outlet.send({ type: 'accepted', id, job: accepted.job })
  }

  const waiting: { data: Buffer; isBinary: boolean }[] = []

  async function work(): Promise<void> {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      if (socket.readyState !== socket.OPEN) return
      let id: string | null = null
      try {
        const message = parseMessage(next.data, next.isBinary)
        metrics.onSocketMessage('in', message.type)
        if ('id' in message) id = message.id ?? null
        await answer(message)
      } catch (error) {
        if (error instanceof MessageError) metrics.onSocketMessage('in', 'invalid')
        await refuse(
          error instanceof MessageError ? error.id : id,
          error instanceof MessageError ? error.fault : error,
        )
      }
      if (socket.isPaused && waiting.length < MAX_WAITING / 2) socket.resume()
    }
    isAnswering = false
  }

  socket.on('message', (data, isBinary) => {
    if (socket.readyState !== socket.OPEN) return
    counts.in++
    waiting.push({ data: data as Buffer, isBinary })
    if (waiting.length >= MAX_WAITING) socket.pause()
    if (isAnswering) return
    isAnswering = true
    work()
  })

  // The peer is gone or too slow. It gets the close code if it is still there, and is cut off if it does not answer.
  const stopPinging = keepAlive(socket, limits.heartbeat, {
    ping: () => session?.subscriptions.mark(),
    miss: () => end(CLOSE.tooSlow, 'answers no ping; continue from the last cursor'),
  })
  const authTimer = setTimeout(
    () => end(CLOSE.keyIsGone, `no key within ${limits.socketAuthTimeout / 1000} s`),
    limits.socketAuthTimeout,
  )
  const onClosing = () => {
    end(CLOSE.closing, 'the server is closing')
    setTimeout(() => socket.terminate(), limits.closeGrace).unref()
  }
  closing.addEventListener('abort', onClosing)

  metrics.onSocket({ opened: true })
  socket.once('close', (code) => {
    stopPinging()
    clearTimeout(authTimer)
    closing.removeEventListener('abort', onClosing)
    session?.subscriptions.close()
    release()
    metrics.onSocket({ closed: code })
    const ms = Math.round(performance.now() - openedAt)
    const acting =
      session !== null && session.caller !== session.tenant.name ? { acting: { admin: session.caller } } : {}
    const line = { tenant: session?.tenant.name, code, ms, messages: counts, ...acting }
    if (session !== null && session.caller !== session.tenant.name)
      request.log.info(line, 'closed a socket of an administrator acting as a tenant')
    else request.log.debug(line, 'closed a socket')
  })

  if (closing.aborted) onClosing()
  const { key } = request
  if (key !== null || deps.tenants.keyring().open) {
    clearTimeout(authTimer)
    open(key ?? { authorization: undefined, actsAs: undefined })
      .then((opened) => {
        session = opened
      }, turnAway)
      .then(begin)
  } else begin()

  function begin(): void {
    isAnswering = false
    if (waiting.length === 0) return
    isAnswering = true
    work()
  }
}
