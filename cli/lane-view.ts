/** The members of `GET /v1/lanes` that commands use. */
export type LaneView = {
  id: string
  rates: {
    requests: number | null
    tokens: number | null
    input_tokens: number | null
    output_tokens: number | null
  }
  speed: number
  /** Absent: a server of an earlier release. */
  shared_limits?: (BucketView & { rates: LaneView['rates'] })[]
  sources?: (BucketView & {
    shut: { until: string; reason: string } | null
    breaker: { state: 'closed' | 'open' | 'half_open' }
  })[]
  held_back_by?: { kind: 'lane' | 'shared_limit'; name: string } | null
  utilisation: number
  used: { requests: number | null; tokens: number | null }
  backlog: { waiting: number; delayed: number; held: number }
  in_flight: number
  paused_until: string | null
  paused_reason: string | null
  waiting_for: string | null
  breaker: { state: 'closed' | 'open' | 'half_open' }
  /** Absent: a server of an earlier release. */
  tiers?: (Pick<BucketView, 'name' | 'speed' | 'paused_until' | 'paused_reason'> & {
    breaker: { state: 'closed' | 'open' | 'half_open' }
  })[]
  latency_ms: { p50: number | null; p95: number | null }
  throttled: number
}

/** Common members of a lane's sources and shared limits. */
type BucketView = {
  name: string
  speed: number
  utilisation: number
  in_flight: number
  paused_until: string | null
  paused_reason: string | null
  throttled: number
}
