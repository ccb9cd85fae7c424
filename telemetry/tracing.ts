import type { Attributes, Context } from '@opentelemetry/api'
import type { Logger } from 'pino'
import type { Config } from '../config/schema.ts'
import { type ProxySettings, toProxyEnv } from '../lib/proxy.ts'
import { formatTraceparent, parseTraceparent } from './traceparent.ts'
import { createExportGuard } from './tracing-export.ts'

export type SpanKind = 'server' | 'producer' | 'consumer' | 'client' | 'internal'

/** Undefined values are omitted. */
export type SpanAttributes = Record<string, string | number | boolean | string[] | undefined>

export type NewSpan = {
  name: string
  kind: SpanKind
  /** `traceparent` of the parent. Without a valid one, the span starts a trace. */
  parent?: string | null | undefined
  /** `tracestate` that arrived with the parent. */
  state?: string | undefined
  /** `traceparent` of other related spans. */
  links?: readonly string[]
  attributes: SpanAttributes
  /** Unix ms; default: now. */
  startedAt?: number
}

export type Span = {
  /** W3C `traceparent` of the span, for its child spans. */
  readonly traceparent: string
  set(attributes: SpanAttributes): void
  /** Marks the span as failed. The type is a short identifier, not a text for people. */
  fail(type: string): void
  /** @param at Unix ms; default: now */
  end(at?: number): void
}

/** Creates spans and sends them. Never throws, and never waits for the receiver. */
export type Tracing = {
  start(span: NewSpan): Span
  /** Whether spans include prompts and answers. */
  readonly content: boolean
  /** Sends the waiting spans, for at most a second. */
  close(): Promise<void>
}

/** Maximum of spans that wait to be sent, and of spans in one export. With prompts they are large. */
const ROOM = { waiting: 4096, atOnce: 512 }
const ROOM_WITH_CONTENT = { waiting: 256, atOnce: 32 }

/** Longest value of an attribute, in characters; longer ones are cut. */
const LONGEST_VALUE = 65_536

/** Maximum of links of a span to jobs that share one call. */
const MOST_LINKS = 512

/** Maximum interval of exports, ms. */
const SEND_MS = 2000

/** Time limit of an export, including retries, ms. */
const EXPORT_MS = 5000

/** How long closing waits for the last export, ms. A process with both roles closes twice. */
const CLOSE_MS = 1000

/**
 * Starts the exporter of spans. Loads OpenTelemetry only when tracing is on, and registers nothing globally: it reads only the environment
 * variables of its exporter, which docs/tracing.md lists.
 */
export async function openTracing(deps: {
  settings: Config['tracing'] & { endpoint: string }
  version: string
  role: string
  /** Identifies this process among all. */
  instance: string
  log: Pick<Logger, 'warn'>
  /** The proxy for spans; absent: none. */
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
    // All that may wait, in batches, and the ones under way.
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
          // Always the clock that measures calls, so that no span begins before its parent.
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
