/** The trace of a request, from its headers on. */
export type RequestTrace = {
  /** W3C `traceparent` for work done for the request. */
  readonly traceparent: string
  /** Call it once the request is answered or its client has disconnected. Then the answer is incomplete or has no status. */
  end(answer: { status: number | null; isWhole: boolean; tenant: string | null }): void
}

/** Starts the trace of a request. Headers are as the client sent them. */
export type TraceRequest = (request: {
  id: string
  method: string
  route: string
  traceparent: string | undefined
  tracestate: string | undefined
}) => RequestTrace
