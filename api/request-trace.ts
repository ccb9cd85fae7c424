/** A request as traces tell of it, from its headers on. */
export type RequestTrace = {
  /** W3C `traceparent` of what is done for it. */
  readonly traceparent: string
  /** To be called once it is answered, or its client is gone: then its answer is not whole, or has not even a status. */
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
