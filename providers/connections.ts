import { subscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import { Agent, buildConnector, type Dispatcher, EnvHttpProxyAgent, Pool, request } from 'undici'
import { type ProxySettings, toUndiciProxy } from '../lib/proxy.ts'

/** What is known of the connection that an error struck. */
type Connection = {
  /** It had brought an answer to another request before. */
  isReused: boolean
  /** It did not take the bytes of the request. */
  isWriteError: boolean
}

/** How far a request came. `isSent`: its first bytes were given to a connection. */
type RequestProgress = { isSent: boolean }

const CONNECT_TIMEOUT_MS = 10_000

/**
 * Servers close connections that stand idle, some after 5 s without a word about it (uvicorn's default); a request
 * that crosses the close on its way is lost. Leaving them first avoids that.
 */
const IDLE_MS = 4000

const struck = new WeakMap<Error, Connection>()
const reached = new WeakMap<Error, RequestProgress>()

/**
 * undici reports each request when it is made, and when it is written. When an idle connection is reset it also fails
 * the request that waits for it (8.12: `onError` of its client), which was not written.
 */
const underWay = new WeakMap<object, RequestProgress>()
let made: RequestProgress | null = null
subscribe('undici:request:create', (message) => {
  // What it brings about itself, such as the CONNECT to a proxy, is no part of how far it came.
  if (made !== null) underWay.set((message as { request: object }).request, made)
  made = null
})
subscribe('undici:client:sendHeaders', (message) => {
  const progress = underWay.get((message as { request: object }).request)
  if (progress) progress.isSent = true
})

/** `undici.request`, whose errors know how far the request came. */
export async function requestTracked(
  url: string,
  options: Omit<Dispatcher.RequestOptions, 'origin' | 'path'> & { dispatcher: Dispatcher },
): Promise<Dispatcher.ResponseData<unknown>> {
  const progress: RequestProgress = { isSent: false }
  made = progress
  // The request is made before this returns; only its sending may wait.
  const pending = request(url, options)
  made = null
  try {
    return await pending
  } catch (error) {
    if (error instanceof Error) reached.set(error, progress)
    throw error
  }
}

/** Whether any byte of the request that failed was given to a connection; true where that is not known. */
export function wasSent(error: unknown): boolean {
  return !(error instanceof Error) || reached.get(error)?.isSent !== false
}

/**
 * The connections to one provider. Each attempt has its own clock; undici's (300 s to the headers and between
 * chunks) would cut slow answers.
 *
 * @param proxy what they go by; null: they are made directly
 */
export function createAgent(proxy: ProxySettings | null): Dispatcher {
  const connect = buildConnector({ timeout: CONNECT_TIMEOUT_MS })
  const settings = {
    connections: null,
    pipelining: 1,
    allowH2: false,
    headersTimeout: 0,
    bodyTimeout: 0,
    keepAliveTimeout: IDLE_MS,
  }
  if (proxy === null) return new Agent({ ...settings, connect: watched(connect) })
  return new EnvHttpProxyAgent({
    ...settings,
    ...toUndiciProxy(proxy),
    connect,
    proxyTls: { timeout: CONNECT_TIMEOUT_MS },
    requestTls: { timeout: CONNECT_TIMEOUT_MS },
    // For connections through a proxy, too, which undici makes by connectors of its own, and without our settings.
    factory: (origin, options: Pool.Options) =>
      new Pool(origin, { ...options, ...settings, connect: watched(options.connect as typeof connect) }),
  })
}

function watched(connect: buildConnector.connector): buildConnector.connector {
  return (options, callback) =>
    connect(options, (...outcome: Parameters<typeof callback>) => {
      const [, socket] = outcome
      if (socket) watch(socket)
      callback(...outcome)
    })
}

/** The connection that an error struck, as far as it is known. */
export function connectionOf(error: unknown): Connection | null {
  if (!(error instanceof Error)) return null
  return struck.get(error) ?? (error.cause === undefined ? null : connectionOf(error.cause))
}

/** Before undici hears of an error, so that it is known when the call fails by it. */
function watch(socket: Socket): void {
  // A handshake may have been read already.
  const before = socket.bytesRead
  socket.prependListener('error', (error: NodeJS.ErrnoException) => {
    struck.set(error, { isReused: socket.bytesRead > before, isWriteError: error.syscall === 'write' })
  })
}
