import type { ReadableSpan, SpanExporter, SpanProcessor } from '@opentelemetry/sdk-trace'
import type { Logger } from 'pino'
import { describeError } from '../lib/describe-error.ts'

/** Between two lines of the log that say that spans were lost, ms. */
const QUIET_MS = 60_000

type Guarded = Pick<SpanExporter, 'export' | 'shutdown'>

/**
 * Keeps count of the spans on their way, so that a receiver that is away costs a bounded amount of memory, and a line of the
 * log a minute that says what was lost.
 */
export function createExportGuard(deps: {
  /** Most spans that wait to be sent. */
  most: number
  log: Pick<Logger, 'warn'>
  /** A clock for spans of time, ms. */
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
    /** The same exporter, whose failures end here. */
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
    /** The same processor, which is given no more than there is room for. */
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

/** The kind of failure alone; what a receiver answers may be long, and repeat what it was sent. */
function describe(error: Error): string {
  const { type, message, code } = describeError(error)
  return `${message || type}${code === undefined ? '' : ` (${code})`}`.slice(0, 200)
}
