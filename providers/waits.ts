import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'

/** No wait is longer: after an hour one call tries again. A larger value is a mistake or a daily quota. */
export const MAX_WAIT_MS = 60 * 60 * 1000

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const LONG_UNITS: [RegExp, string][] = [
  [/^(?:ms|milli(?:second)?s?)$/i, 'ms'],
  [/^(?:s|secs?|seconds?)$/i, 's'],
  [/^(?:m|mins?|minutes?)$/i, 'm'],
  [/^(?:h|hrs?|hours?)$/i, 'h'],
  [/^(?:d|days?)$/i, 'd'],
]
const DURATION =
  /(\d{1,15}(?:\.\d{1,12})?)\s?(milliseconds?|millis?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d)(?![a-z])/gi
const SHORT_DURATION = /^(\d{1,15}(?:\.\d{1,12})?)(ms|s)$/
const RETRY_INFO = 'type.googleapis.com/google.rpc.RetryInfo'
const DECIMAL = /^\d+(?:\.\d+)?$/
/** `Sun Nov  6 08:49:37 1994`. */
const ASCTIME = /^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}$/
/** Numbers from here on are points in time: Unix seconds, Unix milliseconds. */
const UNIX_SECONDS = 1e9
const UNIX_MILLISECONDS = 1e12

/** "Please try again in 6m0s", "retry after 20 seconds", "Please retry in 34.07s". */
const ASKED =
  /(?:try again|retry|available|wait|resets?)(?:[^.\d]|\.(?!\d)){0,40}?\b(?:in|after|for)\s+(?:~|about |approximately )?((?:\d{1,15}(?:\.\d{1,12})?\s?[a-z]{1,12}[\s,]{0,2}(?:and\s)?){1,5})/i

/** "You have to wait 20 seconds", "your limit resets at 2026-11-23T12:00:07Z". */
const ASKED_SHORTLY = /\bwait (\d{1,15}(?:\.\d{1,12})?\s?[a-z]{1,12})\b/i
const ASKED_MOMENT =
  /\b(?:resets?|available|try again|retry)\s(?:at|after|on)\s(\d{4}-\d\d-\d\dT[\d:.]{8,18}(?:Z|[+-]\d\d:?\d\d))/i

/** Members of an error that tell how long to wait (`retryAfterMs` counts as `retry_after_ms`), and the unit of a bare number, ms. */
const MEMBERS: [name: string, unit: number][] = [
  ['retry_after_ms', 1],
  ['retry_after', 1000],
  ['retry_after_seconds', 1000],
  ['retry_after_secs', 1000],
  ['resets_in_seconds', 1000],
  ['reset_in', 1000],
  ['resets_at', 1000],
  ['reset_at', 1000],
  ['retry_at', 1000],
  ['estimated_time', 1000],
]

/** Caps a wait. Undefined for none and for zero, which tells nothing. */
export function capWait(milliseconds: number | undefined): number | undefined {
  if (milliseconds === undefined || !(milliseconds > 0)) return undefined
  return Math.min(Math.ceil(milliseconds), MAX_WAIT_MS)
}

/**
 * Reads a wait in any form: `1.5`, `250ms`, `6m0s`, `1h2m`, a Unix time, an RFC 3339 or HTTP date.
 *
 * @param unit of a bare number, ms
 * @param now unix milliseconds
 * @returns milliseconds from now, uncapped; undefined if it is unreadable or past
 */
export function parseWait(value: JsonValue | undefined, unit: number, now: number): number | undefined {
  const text = typeof value === 'number' ? String(value) : typeof value === 'string' ? value.trim() : ''
  if (DECIMAL.test(text)) {
    const number = Number(text)
    if (number >= UNIX_MILLISECONDS) return positive(number - now)
    if (number >= UNIX_SECONDS && unit === 1000) return positive(number * 1000 - now)
    return positive(number * unit)
  }
  const duration = parseDuration(text)
  if (duration !== undefined) return positive(duration)
  // Date.parse accepts nearly anything. A date in a header names its zone, except for RFC 9110's oldest form, which is in GMT.
  const date = ASCTIME.test(text) ? `${text} GMT` : text
  return /(?:GMT|Z|[+-]\d\d:?\d\d)$/.test(date) ? positive(Date.parse(date) - now) : undefined
}

/** `6m0s`, `1.5s`, `120ms`, `2 minutes and 5 seconds`; undefined for anything else. */
function parseDuration(text: string): number | undefined {
  // Every answer of many providers has some of these.
  const short = SHORT_DURATION.exec(text)
  if (short) return Number(short[1]) * UNITS[short[2]!]!
  let total = 0
  let rest = text
  for (const [whole, number, unit] of text.matchAll(DURATION)) {
    const known = LONG_UNITS.find(([pattern]) => pattern.test(unit!))
    if (!known) return undefined
    total += Number(number) * UNITS[known[1]]!
    rest = rest.replace(whole, '')
  }
  return rest === text || /[^\s,]/.test(rest.replace(/\band\b/gi, '')) ? undefined : total
}

/** When an error asks to retry, by its members or its message, in ms from now; undefined where it does not say. */
export function readErrorWait(error: unknown, message: string, now: number): number | undefined {
  if (isJsonObject(error)) {
    for (const place of [error, error.metadata, error.details, error.error]) {
      if (!isJsonObject(place)) continue
      const wait = readRetryInfo(place.details) ?? readMembers(place, now)
      if (wait !== undefined) return wait
    }
  }
  const asked = ASKED.exec(message) ?? ASKED_SHORTLY.exec(message)
  if (asked) return positive(parseDuration(asked[1]!.trim()) ?? 0)
  return parseWait(ASKED_MOMENT.exec(message)?.[1], 1000, now)
}

/** Google's wait, in the details of an error of any status (google.rpc, error_details.proto). */
function readRetryInfo(details: JsonValue | undefined): number | undefined {
  if (!Array.isArray(details)) return undefined
  const info = details.find((one) => isJsonObject(one) && one['@type'] === RETRY_INFO)
  return isJsonObject(info) ? readGoogleDuration(info.retryDelay) : undefined
}

/** A protobuf Duration: in JSON seconds with up to nine decimals and an `s`. Some gateways keep its two members. */
function readGoogleDuration(value: JsonValue | undefined): number | undefined {
  if (typeof value === 'string')
    return /^\d+(?:\.\d+)?s$/.test(value) ? positive(Math.ceil(Number(value.slice(0, -1)) * 1000)) : undefined
  if (!isJsonObject(value)) return undefined
  const milliseconds = Number(value.seconds ?? 0) * 1000 + Number(value.nanos ?? 0) / 1e6
  return positive(Math.ceil(milliseconds))
}

function readMembers(place: JsonObject, now: number): number | undefined {
  for (const [name, unit] of MEMBERS) {
    const wait = parseWait(place[name] ?? place[toCamelCase(name)], unit, now)
    if (wait !== undefined) return wait
  }
  // OpenRouter puts the headers of its limit into the error.
  const { headers } = place
  if (!isJsonObject(headers)) return undefined
  for (const [name, value] of Object.entries(headers)) {
    if (/^(?:x-)?rate-?limit-reset$|^retry-after$/i.test(name)) return parseWait(value, 1000, now)
  }
  return undefined
}

function toCamelCase(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
}

function positive(milliseconds: number): number | undefined {
  return milliseconds > 0 ? milliseconds : undefined
}
