import { subscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import { Agent, buildConnector, type Dispatcher, EnvHttpProxyAgent, Pool, request } from 'undici'
import { type ProxySettings, toUndiciProxy } from '../lib/proxy.ts'

/** What is known of the connection on which an error occurred. */
type Connection = {
  /** It had served another request before. */
  isReused: boolean
  /** It failed while writing the request. */
  isWriteError: boolean
}

/** How far a request got. `isSent`: its first bytes were written to a connection. */
type RequestProgress = { isSent: boolean }

const CONNECT_TIMEOUT_MS = 10_000

/**
 * Servers close idle connections, some after 5 s without notice (uvicorn's default). A request sent at the same moment is lost. Closing
 * them earlier ourselves avoids that.
 */
const IDLE_MS = 4000

const connectionOfError = new WeakMap<Error, Connection>()
const progressOfError = new WeakMap<Error, RequestProgress>()

/**
 * undici reports when a request is created and when it is written. When an idle connection is reset, undici also fails the request that
 * waits for it (8.12: `onError` of its client), although that request was not written.
 */
const progressOfRequest = new WeakMap<object, RequestProgress>()
let made: RequestProgress | null = null
subscribe('undici:request:create', (message) => {
  // Requests that undici makes itself, such as the CONNECT to a proxy, are not tracked.
  if (made !== null) progressOfRequest.set((message as { request: object }).request, made)
  made = null
})
subscribe('undici:client:sendHeaders', (message) => {
  const progress = progressOfRequest.get((message as { request: object }).request)
  if (progress) progress.isSent = true
})

/** `undici.request`, whose errors tell how far the request got. */
export async function requestTracked(
  url: string,
  options: Omit<Dispatcher.RequestOptions, 'origin' | 'path'> & { dispatcher: Dispatcher },
): Promise<Dispatcher.ResponseData<unknown>> {
  const progress: RequestProgress = { isSent: false }
  made = progress
  // undici creates the request before this call returns. Only the sending may wait.
  const pending = request(url, options)
  made = null
  try {
    return await pending
  } catch (error) {
    if (error instanceof Error) progressOfError.set(error, progress)
    throw error
  }
}

/** Whether any byte of the failed request was written to a connection; true where that is unknown. */
export function wasSent(error: unknown): boolean {
  return !(error instanceof Error) || progressOfError.get(error)?.isSent !== false
}

/**
 * Creates the connections to one provider. Each attempt has its own timeout; undici's (300 s to the headers and between chunks) would cut
 * off slow answers.
 *
 * @param proxy null: connections are made directly
 * @param silenceMs longest time between two chunks of an answer, ms; 0: no limit
 */
export function createAgent(proxy: ProxySettings | null, silenceMs = 0): Dispatcher {
  const connect = buildConnector({ timeout: CONNECT_TIMEOUT_MS })
  const settings = {
    connections: null,
    pipelining: 1,
    allowH2: false,
    headersTimeout: 0,
    bodyTimeout: silenceMs,
    keepAliveTimeout: IDLE_MS,
  }
  if (proxy === null) return new Agent({ ...settings, connect: watched(connect) })
  return new EnvHttpProxyAgent({
    ...settings,
    ...toUndiciProxy(proxy),
    connect,
    proxyTls: { timeout: CONNECT_TIMEOUT_MS },
    requestTls: { timeout: CONNECT_TIMEOUT_MS },
    // undici makes connections through a proxy with connectors of its own and without our settings. The factory sets both.
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

/** The connection on which an error occurred, if known. */
export function connectionOf(error: unknown): Connection | null {
  if (!(error instanceof Error)) return null
  return connectionOfError.get(error) ?? (error.cause === undefined ? null : connectionOf(error.cause))
}

/** Listens before undici does, so that the connection is known when the call fails. */
function watch(socket: Socket): void {
  // The handshake may have been read already.
  const before = socket.bytesRead
  socket.prependListener('error', (error: NodeJS.ErrnoException) => {
    connectionOfError.set(error, {
      isReused: socket.bytesRead > before,
      isWriteError: error.syscall === 'write',
    })
  })
}
