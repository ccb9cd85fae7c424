import type { SpanAttributes } from './tracing.ts'

/** The server of a URL as attributes. */
export function serverOf(url: URL | null): SpanAttributes {
  if (url === null) return {}
  const port = Number(url.port) || (url.protocol === 'https:' ? 443 : 80)
  return { 'server.address': url.hostname, 'server.port': port }
}
