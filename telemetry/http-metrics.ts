import { Counter, Gauge, Histogram, type Registry } from '@prometheus-io/client'
import { OTHER } from './label-bound.ts'

/** Seconds. */
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

/** Close codes of sockets, including those of clients that disconnect without a close frame (1005, 1006). */
const CLOSE_CODES = new Set([1000, 1001, 1002, 1005, 1006, 1007, 1008, 1009, 1011, 1013, 4401])

/** Metrics of requests to the API, and of open event streams and WebSockets. */
export function createHttpMetrics(registry: Registry) {
  const registers = [registry]
  const requests = new Counter({
    name: 'sluice_http_requests_total',
    help: 'Answered requests, by the template of their route and the class of their status.',
    labelNames: ['method', 'route', 'status'] as const,
    registers,
  })
  const duration = new Histogram({
    name: 'sluice_http_request_duration_seconds',
    help: 'Time from a request to the end of its answer; for a stream, how long it was open.',
    labelNames: ['method', 'route'] as const,
    buckets: BUCKETS,
    registers,
  })
  const streams = new Gauge({
    name: 'sluice_event_streams_open',
    help: 'Open event streams, including streamed answers.',
    registers,
  })
  const sockets = new Gauge({
    name: 'sluice_websockets_open',
    help: 'Open WebSockets. Each one, and each of its subscriptions, also counts as an event stream.',
    registers,
  })
  const messages = new Counter({
    name: 'sluice_websocket_messages_total',
    help: 'Messages over WebSockets, by direction (in, out) and type.',
    labelNames: ['direction', 'type'] as const,
    registers,
  })
  const closes = new Counter({
    name: 'sluice_websocket_closes_total',
    help: 'WebSockets that were closed, by code.',
    labelNames: ['code'] as const,
    registers,
  })

  return {
    /** @param answer.route as registered; null: unknown route */
    onAnswer(answer: { method: string; route: string | null; status: number; ms: number }): void {
      const method = METHODS.has(answer.method) ? answer.method : OTHER
      const route = answer.route ?? OTHER
      requests.inc({ method, route, status: `${Math.floor(answer.status / 100)}xx` })
      duration.observe({ method, route }, answer.ms / 1000)
    },
    onStreams: (change: number): void => streams.inc(change),
    onSocket(change: { opened: true } | { closed: number }): void {
      sockets.inc('opened' in change ? 1 : -1)
      // A client may send any code.
      if ('closed' in change)
        closes.inc({ code: CLOSE_CODES.has(change.closed) ? String(change.closed) : OTHER })
    },
    onSocketMessage: (direction: 'in' | 'out', type: string): void => messages.inc({ direction, type }),
  }
}
