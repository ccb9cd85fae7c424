/**
 * The seconds of `Prefer: wait=N` (RFC 7240 section 4.3), at most `maxSeconds`; null if there is none. An invalid preference is ignored, as
 * the RFC requires.
 */
export function parsePreferWait(header: string | string[] | undefined, maxSeconds: number): number | null {
  for (const preference of listPreferences(header)) {
    const seconds = /^\s*wait\s*=\s*"?(\d{1,9})"?\s*(?:;.*)?$/i.exec(preference)?.[1]
    if (seconds !== undefined) return Math.min(Number(seconds), maxSeconds)
  }
  return null
}

/** Whether `Prefer: respond-async` (RFC 7240 section 4.1) is among the preferences. */
export function prefersAsync(header: string | string[] | undefined): boolean {
  return listPreferences(header).some((preference) => /^\s*respond-async\s*(?:;.*)?$/i.test(preference))
}

function listPreferences(header: string | string[] | undefined): string[] {
  return (Array.isArray(header) ? header.join(',') : (header ?? '')).split(',')
}
