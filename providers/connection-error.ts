import type { FailureVerdict } from './classify.ts'
import { timedOut } from './classify.ts'
import { connectionOf, wasSent } from './connections.ts'

/** Failures before the connection was open: nothing can have reached the provider. */
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
/** OpenSSL's and Node's codes for a refused certificate or handshake. */
const TLS_REFUSED =
  /^(?:ERR_TLS_|ERR_SSL_|CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE)/
const TIMED_OUT = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'])
/** Codes of decoders: the bytes do not match their `content-encoding`. */
const BADLY_CODED = /^(?:Z_|ERR__?ZSTD|ERR__?BROTLI|ERR_BROTLI|ZSTD_)/

/**
 * Classifies a call without a complete answer. If no connection was open, the provider cannot have seen the request. Everything else is
 * ambiguous: the provider may have worked on it.
 */
export function classifyConnectionError(error: unknown): FailureVerdict {
  const codes = collectCodes(error)
  const name = codes[0] ?? 'unknown cause'
  if (codes.some((code) => TIMED_OUT.has(code))) return timedOut()
  if (codes.some((code) => BADLY_CODED.test(code))) {
    const message = `the answer does not match its content-encoding (${name})`
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

/** Whether the call failed on a reused connection that was closed meanwhile. That says nothing about the provider's health. */
export function isStaleConnection(error: unknown): boolean {
  return connectionOf(error)?.isReused === true
}

/**
 * Whether a reused connection failed before it had taken the whole request, so that nobody can have read it. Once all of it is sent, nobody
 * knows, even if the connection is reset right afterwards.
 */
export function isSurelyUnread(error: unknown): boolean {
  const connection = connectionOf(error)
  return connection?.isReused === true && (connection.isWriteError || !wasSent(error))
}

/** undici's message where a proxy refused the tunnel (8.12: `lib/dispatcher/proxy-agent.js`). */
function describeProxyRefusal(error: unknown): string | null {
  const status = error instanceof Error ? /^Proxy response \((\d{3})\)/.exec(error.message)?.[1] : undefined
  return status === undefined ? null : `the proxy refused the connection to the provider (status ${status})`
}

/** Collects the codes of an error, its causes and its joined errors, outermost first. */
function collectCodes(error: unknown, depth = 0): string[] {
  if (!(error instanceof Error) || depth > 5) return []
  const own = 'code' in error && typeof error.code === 'string' ? [error.code] : []
  const joined = error instanceof AggregateError ? error.errors : []
  return [...own, ...[error.cause, ...joined].flatMap((inner) => collectCodes(inner, depth + 1))]
}
