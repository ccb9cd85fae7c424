/** Where a span stands: its trace, itself, and whether it is among those that are recorded. */
export type TraceContext = { traceId: string; spanId: string; isSampled: boolean }

/** Version, trace, span, flags, and what later versions may put behind them. */
const pattern = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/

const SAMPLED = 1

/** Reads a `traceparent`; null where it is none that counts. Source: W3C Trace Context, Level 1, section 3.2. */
export function parseTraceparent(text: string): TraceContext | null {
  const [, version, traceId = '', spanId = '', flags = '', further] = pattern.exec(text) ?? []
  if (version === undefined || version === 'ff' || (version === '00' && further !== undefined)) return null
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return null
  return { traceId, spanId, isSampled: (Number.parseInt(flags, 16) & SAMPLED) !== 0 }
}

export function formatTraceparent({ traceId, spanId, isSampled }: TraceContext): string {
  return `00-${traceId}-${spanId}-${isSampled ? '01' : '00'}`
}
