/** A request as traces tell of it, from its headers on. */
export type RequestTrace = {
  /** W3C `traceparent` of what is done for it. */
  readonly traceparent: string
  /** Call it once the request is answered or its client is gone. If the client is gone, the answer is incomplete or has no status. */
  end(answer: { status: number | null; isWhole: boolean; tenant: string | null }): void
}

/** Begins to tell of a request. Headers are as the client sent them. */
export type TraceRequest = (request: {
  id: string
  method: string
  route: string
  traceparent: string | undefined
  tracestate: string | undefined
}) => RequestTrace
