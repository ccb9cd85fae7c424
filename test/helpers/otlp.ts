import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'

/** A span as a receiver of OTLP gets it, its attributes as plain values. */
export type ReceivedSpan = {
  traceId: string
  spanId: string
  /** '' for the first of a trace. */
  parentSpanId: string
  name: string
  /** 2 server, 3 client, 4 producer, 5 consumer. */
  kind: number
  startedAt: bigint
  endedAt: bigint
  attributes: Record<string, unknown>
  /** Span ids. */
  links: string[]
  isError: boolean
  /** Of the process that sent it. */
  resource: Record<string, unknown>
}

export type OtlpReceiver = {
  url: string
  spans: ReceivedSpan[]
  /** Headers of the requests. */
  headers: Record<string, unknown>[]
  /** The spans of one trace, in the order of their start. */
  trace(id: string): ReceivedSpan[]
  close(): Promise<void>
}

/** Receives traces as OTLP over HTTP, in JSON. */
export async function startOtlpReceiver(): Promise<OtlpReceiver> {
  const spans: ReceivedSpan[] = []
  const headers: Record<string, unknown>[] = []
  const server = createServer(async (request, response) => {
    const body = (await json(request)) as ExportRequest
    headers.push(request.headers)
    for (const { resource, scopeSpans } of body.resourceSpans) {
      for (const scope of scopeSpans) {
        for (const span of scope.spans) spans.push(read(span, toValues(resource.attributes)))
      }
    }
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/traces`,
    spans,
    headers,
    trace: (id) =>
      spans
        .filter((span) => span.traceId === id)
        .sort((a, b) => (a.startedAt < b.startedAt ? -1 : a.startedAt > b.startedAt ? 1 : 0)),
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

type Value = { stringValue?: string; intValue?: number; boolValue?: boolean; doubleValue?: number } & {
  arrayValue?: { values: Value[] }
}
type Attribute = { key: string; value: Value }
type SpanJson = {
  traceId: string
  spanId: string
  parentSpanId?: string
  name: string
  kind: number
  startTimeUnixNano: string
  endTimeUnixNano: string
  attributes: Attribute[]
  links: { spanId: string }[]
  status: { code: number }
}
type ExportRequest = {
  resourceSpans: { resource: { attributes: Attribute[] }; scopeSpans: { spans: SpanJson[] }[] }[]
}

function read(span: SpanJson, resource: Record<string, unknown>): ReceivedSpan {
  return {
    traceId: span.traceId,
    spanId: span.spanId,
    parentSpanId: span.parentSpanId ?? '',
    name: span.name,
    kind: span.kind,
    startedAt: BigInt(span.startTimeUnixNano),
    endedAt: BigInt(span.endTimeUnixNano),
    attributes: toValues(span.attributes),
    links: span.links.map((link) => link.spanId),
    isError: span.status.code === 2,
    resource,
  }
}

function toValues(attributes: Attribute[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, toValue(value)]))
}

function toValue(value: Value): unknown {
  if (value.arrayValue) return value.arrayValue.values.map(toValue)
  return value.stringValue ?? value.intValue ?? value.boolValue ?? value.doubleValue
}
