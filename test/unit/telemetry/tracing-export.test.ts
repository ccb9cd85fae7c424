import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace'
import { expect, test } from 'vitest'
import { createExportGuard } from '../../../telemetry/tracing-export.ts'

const span = (isSampled = true) =>
  ({ spanContext: () => ({ traceFlags: isSampled ? 1 : 0 }) }) as unknown as ReadableSpan

function open(most: number) {
  const lines: object[] = []
  const taken: ReadableSpan[] = []
  let time = 0
  const guard = createExportGuard({
    most,
    log: { warn: (line: object) => void lines.push(line) },
    now: () => time,
  })
  const processor = guard.guardProcessor({
    onStart() {},
    onEnd: (one) => void taken.push(one),
    forceFlush: async () => {},
    shutdown: async () => {},
  })
  const exporting = (exporter: Pick<SpanExporter, 'export'>) =>
    guard.guardExporter({ ...exporter, shutdown: async () => {} })
  return { lines, taken, processor, exporting, pass: (ms: number) => (time += ms) }
}

test('spans beyond the room are lost, and there is room again when some were sent', () => {
  const { lines, taken, processor, exporting } = open(2)
  for (let index = 0; index < 5; index++) processor.onEnd(span())
  expect(taken).toHaveLength(2)
  expect(lines).toEqual([{ spans: 1, reason: expect.stringContaining('room') }])
  exporting({ export: (_spans, done) => done({ code: 0 }) }).export(taken, () => {})
  processor.onEnd(span())
  expect(taken).toHaveLength(3)
})

test('a span that is not recorded takes no room', () => {
  const { lines, taken, processor } = open(1)
  processor.onEnd(span(false))
  processor.onEnd(span())
  expect(taken).toHaveLength(1)
  expect(lines).toEqual([])
})

test.each([
  [
    'that fails',
    {
      export: (_spans: unknown, done: (result: { code: number; error: Error }) => void) =>
        done({ code: 1, error: new Error('connect ECONNREFUSED') }),
    },
  ],
  [
    'that throws',
    {
      export: () => {
        throw new Error('connect ECONNREFUSED')
      },
    },
  ],
])(
  'an exporter %s harms nothing and is in the log once a minute, with the spans lost until then',
  (_name, exporter) => {
    const { lines, exporting, pass } = open(10)
    const guarded = exporting(exporter)
    const codes: number[] = []
    const send = () => guarded.export([span(), span()], ({ code }) => codes.push(code))
    send()
    send()
    pass(59_000)
    send()
    expect(lines).toEqual([{ spans: 2, reason: 'connect ECONNREFUSED' }])
    pass(1000)
    send()
    expect(lines.slice(1)).toEqual([{ spans: 6, reason: 'connect ECONNREFUSED' }])
    expect(codes).toEqual([0, 0, 0, 0])
  },
)
