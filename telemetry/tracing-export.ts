import type { ReadableSpan, SpanExporter, SpanProcessor } from '@opentelemetry/sdk-trace'
import type { Logger } from 'pino'
import { describeError } from '../lib/describe-error.ts'

/** Minimum interval of log lines about lost spans, ms. */
const QUIET_MS = 60_000

type Guarded = Pick<SpanExporter, 'export' | 'shutdown'>

/**
 * Counts the spans that wait, so that an unavailable receiver costs a limited amount of memory, and one log line per minute about lost
 * spans.
 */
export function createExportGuard(deps: {
  /** Maximum of spans that wait to be sent. */
  most: number
  log: Pick<Logger, 'warn'>
  /** A monotonic clock, ms. */
  now: () => number
}) {
  const { most, log, now } = deps
  let waiting = 0
  let lost = 0
  let quietUntil = 0

  function lose(count: number, reason: string): void {
    lost += count
    if (now() < quietUntil) return
    quietUntil = now() + QUIET_MS
    log.warn({ spans: lost, reason }, 'spans were lost')
    lost = 0
  }

  return {
    /** Wraps an exporter so that its failures are handled here. */
    guardExporter(exporter: Guarded): SpanExporter {
      return {
        export(spans: ReadableSpan[], done) {
          waiting -= spans.length
          const finish = (error: Error | undefined) => {
            if (error) lose(spans.length, describe(error))
            done({ code: 0 })
          }
          try {
            exporter.export(spans, ({ code, error }) =>
              finish(code === 0 ? undefined : (error ?? new Error('refused'))),
            )
          } catch (error) {
            finish(error instanceof Error ? error : new Error(String(error)))
          }
        },
        shutdown: () => exporter.shutdown(),
      }
    },
    /** Wraps a processor so that it gets only as many spans as are allowed to wait. */
    guardProcessor(processor: SpanProcessor): SpanProcessor {
      return {
        onStart: (span, context) => processor.onStart(span, context),
        onEnd(span) {
          if ((span.spanContext().traceFlags & 1) === 0) return
          if (waiting >= most) return lose(1, 'more spans wait than there is room for')
          waiting++
          processor.onEnd(span)
        },
        forceFlush: () => processor.forceFlush(),
        shutdown: () => processor.shutdown(),
      }
    },
  }
}

/** Only the kind of failure, because a receiver's answer may be long and repeat its input. */
function describe(error: Error): string {
  const { type, message, code } = describeError(error)
  return `${message || type}${code === undefined ? '' : ` (${code})`}`.slice(0, 200)
}
