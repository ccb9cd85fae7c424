/** The position of a span: its trace, its id, and whether it is recorded. */
export type TraceContext = { traceId: string; spanId: string; isSampled: boolean }

/** Version, trace, span, flags, and extensions of later versions. */
const pattern = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/

const SAMPLED = 1

/** Parses a `traceparent`; null if it is invalid. Source: W3C Trace Context, Level 1, section 3.2. */
export function parseTraceparent(text: string): TraceContext | null {
  const [, version, traceId = '', spanId = '', flags = '', further] = pattern.exec(text) ?? []
  if (version === undefined || version === 'ff' || (version === '00' && further !== undefined)) return null
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return null
  return { traceId, spanId, isSampled: (Number.parseInt(flags, 16) & SAMPLED) !== 0 }
}

export function formatTraceparent({ traceId, spanId, isSampled }: TraceContext): string {
  return `00-${traceId}-${spanId}-${isSampled ? '01' : '00'}`
}
