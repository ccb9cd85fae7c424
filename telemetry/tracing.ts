import type { Attributes, Context } from '@opentelemetry/api'
import type { Logger } from 'pino'
import type { Config } from '../config/schema.ts'
import { type ProxySettings, toProxyEnv } from '../lib/proxy.ts'
import { formatTraceparent, parseTraceparent } from './traceparent.ts'
import { createExportGuard } from './tracing-export.ts'

export type SpanKind = 'server' | 'producer' | 'consumer' | 'client' | 'internal'

/** Values that are undefined are left out. */
export type SpanAttributes = Record<string, string | number | boolean | string[] | undefined>

export type NewSpan = {
  name: string
  kind: SpanKind
  /** `traceparent` of what it is a part of. Where there is none, or none that counts, a trace begins with it. */
  parent?: string | null | undefined
  /** `tracestate` that came with the parent. */
  state?: string | undefined
  /** `traceparent` of other spans that it has to do with. */
  links?: readonly string[]
  attributes: SpanAttributes
  /** Unix ms; now unless given. */
  startedAt?: number
}

export type Span = {
  /** W3C `traceparent` of the span, for its child spans. */
  readonly traceparent: string
  set(attributes: SpanAttributes): void
  /** Marks it as failed. The type is a short identifier, never a text for people. */
  fail(type: string): void
  /** @param at Unix ms; now unless given */
  end(at?: number): void
}

/** Makes spans and sends them. Never throws, and never waits for their receiver. */
export type Tracing = {
  start(span: NewSpan): Span
  /** Whether prompts and answers belong into spans. */
  readonly content: boolean
  /** Sends what waits, for at most a second. */
  close(): Promise<void>
}

/** Spans that wait to be sent, and those sent at once. With prompts in them they are large. */
const ROOM = { waiting: 4096, atOnce: 512 }
const ROOM_WITH_CONTENT = { waiting: 256, atOnce: 32 }

/** Longest value of an attribute, in characters; what is longer is cut. */
const LONGEST_VALUE = 65_536

/** Most links of a span: to the jobs that share one call. */
const MOST_LINKS = 512

/** Spans are sent together at least this often, ms. */
const SEND_MS = 2000

/** What a receiver gets to take spans in, retries included, ms. */
const EXPORT_MS = 5000

/** What is left waits no longer at the end, ms. A process with both roles closes twice. */
const CLOSE_MS = 1000

/**
 * Opens what sends spans. Loads OpenTelemetry, which nobody pays for who does not trace, and registers nothing globally: it
 * reads none of its variables of the environment but those of its exporter, which docs/tracing.md names.
 */
export async function openTracing(deps: {
  settings: Config['tracing'] & { endpoint: string }
  version: string
  role: string
  /** Of this process, among all. */
  instance: string
  log: Pick<Logger, 'warn'>
  /** What spans go by; none unless given. */
  proxy?: ProxySettings | null
  now: () => number
}): Promise<Tracing> {
  const { settings, version, log, now } = deps
  const [api, sdk, resources, { OTLPTraceExporter }] = await Promise.all([
    import('@opentelemetry/api'),
    import('@opentelemetry/sdk-trace'),
    import('@opentelemetry/resources'),
    import('@opentelemetry/exporter-trace-otlp-http'),
  ])
  const room = settings.content ? ROOM_WITH_CONTENT : ROOM
  const guard = createExportGuard({ most: room.waiting, log, now: () => performance.now() })
  const exporter = new OTLPTraceExporter({
    url: settings.endpoint,
    headers: settings.headers,
    timeoutMillis: EXPORT_MS,
    // All that may wait, in its parts, and those under way.
    concurrencyLimit: 16,
    ...(deps.proxy ? { httpAgentOptions: { keepAlive: true, proxyEnv: toProxyEnv(deps.proxy) } } : {}),
  })
  const processor = new sdk.BatchSpanProcessor({
    exporter: guard.guardExporter(exporter),
    maxQueueSize: room.waiting,
    maxExportBatchSize: room.atOnce,
    scheduledDelayMillis: SEND_MS,
    exportTimeoutMillis: EXPORT_MS + 1000,
  })
  const provider = new sdk.TracerProvider({
    resource: resources.defaultResource().merge(
      resources.resourceFromAttributes({
        'service.name': settings.service_name,
        'service.version': version,
        'service.instance.id': deps.instance,
        'sluice.role': deps.role,
      }),
    ),
    sampler: new sdk.ParentBasedSampler({ root: new sdk.TraceIdRatioBasedSampler(settings.sample) }),
    spanLimits: { attributeValueLengthLimit: LONGEST_VALUE, linkCountLimit: MOST_LINKS },
    spanProcessors: [guard.guardProcessor(processor)],
  })
  const tracer = provider.getTracer('sluice', version)
  const kinds = {
    server: api.SpanKind.SERVER,
    producer: api.SpanKind.PRODUCER,
    consumer: api.SpanKind.CONSUMER,
    client: api.SpanKind.CLIENT,
    internal: api.SpanKind.INTERNAL,
  }

  function toSpanContext(traceparent: string, state?: string) {
    const context = parseTraceparent(traceparent)
    if (context === null) return null
    return {
      traceId: context.traceId,
      spanId: context.spanId,
      traceFlags: context.isSampled ? api.TraceFlags.SAMPLED : api.TraceFlags.NONE,
      isRemote: true,
      ...(state === undefined ? {} : { traceState: api.createTraceState(state) }),
    }
  }

  function toContext(parent: string | null | undefined, state: string | undefined): Context {
    const spanContext = parent ? toSpanContext(parent, state) : null
    return spanContext ? api.trace.setSpanContext(api.ROOT_CONTEXT, spanContext) : api.ROOT_CONTEXT
  }

  return {
    content: settings.content,
    start({ name, kind, parent, state, links = [], attributes, startedAt }) {
      const span = tracer.startSpan(
        name,
        {
          kind: kinds[kind],
          attributes: attributes as Attributes,
          links: links.flatMap((link) => {
            const context = toSpanContext(link)
            return context ? [{ context }] : []
          }),
          // Always the clock that times calls, so that no span begins before its parent.
          startTime: startedAt ?? now(),
        },
        toContext(parent, state),
      )
      const { traceId, spanId, traceFlags } = span.spanContext()
      const isSampled = (traceFlags & api.TraceFlags.SAMPLED) !== 0
      return {
        traceparent: formatTraceparent({ traceId, spanId, isSampled }),
        set: (further) => void span.setAttributes(further as Attributes),
        fail(type) {
          span.setAttribute('error.type', type)
          span.setStatus({ code: api.SpanStatusCode.ERROR })
        },
        end: (at) => span.end(at ?? now()),
      }
    },
    async close() {
      const timeout = Promise.withResolvers<void>()
      const timer = setTimeout(timeout.resolve, CLOSE_MS)
      await Promise.race([provider.shutdown().catch(() => {}), timeout.promise])
      clearTimeout(timer)
    },
  }
}
