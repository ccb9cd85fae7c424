import type { FailureVerdict } from './classify.ts'
import { timedOut } from './classify.ts'
import { connectionOf, wasSent } from './connections.ts'

/** Failures before a connection stood, so that nothing can have reached the provider. */
const NOT_CONNECTED = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EAI_FAIL',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'EMFILE',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_INVALID_ARG',
  'UND_ERR_DESTROYED',
  'UND_ERR_CLOSED',
])
/** OpenSSL's and Node's names for a refused certificate or handshake. */
const TLS_REFUSED =
  /^(?:ERR_TLS_|ERR_SSL_|CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE)/
const TIMED_OUT = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'])
/** Bytes that are not what their `content-encoding` says. */
const BADLY_CODED = /^(?:Z_|ERR__?ZSTD|ERR__?BROTLI|ERR_BROTLI|ZSTD_)/

/**
 * The class of a call without a complete answer. Where no connection stood the provider cannot have seen the
 * request; everything else may have been worked on, and is ambiguous.
 */
export function classifyConnectionError(error: unknown): FailureVerdict {
  const codes = collectCodes(error)
  const name = codes[0] ?? 'unknown cause'
  if (codes.some((code) => TIMED_OUT.has(code))) return timedOut()
  if (codes.some((code) => BADLY_CODED.test(code))) {
    const message = `the answer is not coded as it says (${name})`
    return {
      class: 'retryable',
      cause: 'answer',
      code: 'invalid_answer',
      message,
      ambiguous: true,
      input: false,
    }
  }
  const connected = wasSent(error) && !codes.some((code) => NOT_CONNECTED.has(code) || TLS_REFUSED.test(code))
  return {
    class: 'retryable',
    cause: 'connection',
    code: 'connection_error',
    message:
      describeProxyRefusal(error) ??
      (connected
        ? `the connection broke before the answer was complete (${name})`
        : `no connection to the provider (${name})`),
    ambiguous: connected,
    input: false,
  }
}

/**
 * Whether a call that failed before its answer began met a connection that had served others and was closed meanwhile.
 * That says nothing about how the provider fares.
 */
export function isStaleConnection(error: unknown): boolean {
  return connectionOf(error)?.isReused === true
}

/**
 * Whether a connection that had served others failed before it took the request: nothing was sent, or not all of it, so
 * that nobody can have read it. Once all is sent, nobody knows, be it that the connection is reset right afterwards.
 */
export function isSurelyUnread(error: unknown): boolean {
  const connection = connectionOf(error)
  return connection?.isReused === true && (connection.isWriteError || !wasSent(error))
}

/** What undici says where a proxy did not open the way (8.12: `lib/dispatcher/proxy-agent.js`). */
function describeProxyRefusal(error: unknown): string | null {
  const status = error instanceof Error ? /^Proxy response \((\d{3})\)/.exec(error.message)?.[1] : undefined
  return status === undefined ? null : `the proxy refused the connection to the provider (status ${status})`
}

/** The codes of an error, its causes and the attempts joined in it, outermost first. */
function collectCodes(error: unknown, depth = 0): string[] {
  if (!(error instanceof Error) || depth > 5) return []
  const own = 'code' in error && typeof error.code === 'string' ? [error.code] : []
  const joined = error instanceof AggregateError ? error.errors : []
  return [...own, ...[error.cause, ...joined].flatMap((inner) => collectCodes(inner, depth + 1))]
}
