import { Counter, Gauge, Histogram, type Registry } from '@prometheus-io/client'
import { OTHER } from './label-bound.ts'

/** Seconds. */
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

/** Requests to the API, and the event streams that are open. */
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

  return {
    /** @param answer.route as it was registered; null: there is none */
    onAnswer(answer: { method: string; route: string | null; status: number; ms: number }): void {
      const method = METHODS.has(answer.method) ? answer.method : OTHER
      const route = answer.route ?? OTHER
      requests.inc({ method, route, status: `${Math.floor(answer.status / 100)}xx` })
      duration.observe({ method, route }, answer.ms / 1000)
    },
    onStreams: (change: number): void => streams.inc(change),
  }
}
