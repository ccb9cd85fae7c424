/**
 * The seconds of `Prefer: wait=N` (RFC 7240 section 4.3), at most `maxSeconds`; null where there is no such preference. A
 * preference that cannot be understood is ignored, as the RFC asks.
 */
export function parsePreferWait(header: string | string[] | undefined, maxSeconds: number): number | null {
  const text = Array.isArray(header) ? header.join(',') : (header ?? '')
  for (const preference of text.split(',')) {
    const seconds = /^\s*wait\s*=\s*"?(\d{1,9})"?\s*(?:;.*)?$/i.exec(preference)?.[1]
    if (seconds !== undefined) return Math.min(Number(seconds), maxSeconds)
  }
  return null
}
