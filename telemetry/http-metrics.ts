import { Counter, Gauge, Histogram, type Registry } from '@prometheus-io/client'
import { OTHER } from './label-bound.ts'

/** Seconds. */
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

/** How sockets are closed, those of clients included that go without a word (1005, 1006). */
const CLOSE_CODES = new Set([1000, 1001, 1002, 1005, 1006, 1007, 1008, 1009, 1011, 1013, 4401])

/** Requests to the API, and the event streams and WebSockets that are open. */
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
    help: 'From a request to the end of its answer; of a stream, how long it was open.',
    labelNames: ['method', 'route'] as const,
    buckets: BUCKETS,
    registers,
  })
  const streams = new Gauge({
    name: 'sluice_event_streams_open',
    help: 'Event streams that clients hold open, those of streamed answers among them.',
    registers,
  })
  const sockets = new Gauge({
    name: 'sluice_websockets_open',
    help: 'WebSockets that clients hold open; each counts among the event streams as well, and so does each subscription.',
    registers,
  })
  const messages = new Counter({
    name: 'sluice_websocket_messages_total',
    help: 'Messages over WebSockets, by their direction (in, out) and type.',
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
    /** @param answer.route as it was registered; null: there is none */
    onAnswer(answer: { method: string; route: string | null; status: number; ms: number }): void {
      const method = METHODS.has(answer.method) ? answer.method : OTHER
      const route = answer.route ?? OTHER
      requests.inc({ method, route, status: `${Math.floor(answer.status / 100)}xx` })
      duration.observe({ method, route }, answer.ms / 1000)
    },
    onStreams: (change: number): void => streams.inc(change),
    onSocket(change: { opened: true } | { closed: number }): void {
      sockets.inc('opened' in change ? 1 : -1)
      // A client may say any code.
      if ('closed' in change)
        closes.inc({ code: CLOSE_CODES.has(change.closed) ? String(change.closed) : OTHER })
    },
    onSocketMessage: (direction: 'in' | 'out', type: string): void => messages.inc({ direction, type }),
  }
}
