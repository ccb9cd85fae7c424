import { z } from 'zod'
import { durationPattern, parseDuration, parseSize, sizePattern } from './units.ts'

/** Fault texts of members whose value is never a secret, so a fault may show it. */
export const expectedDuration = 'expected a duration such as "500ms", "60s", "2h" or "7d"'
export const expectedSize = 'expected a size such as "512B", "64KiB", "1MiB" or "2GB"'

/** Names of providers, tenants and similar. They become parts of Redis keys, URLs and metrics. */
export const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

/**
 * Names of models as providers write them (`meta-llama/Llama-3.1-8B:free`, `@cf/meta/llama-3`, `/models/llama.gguf`, `my model`), or `*`. A
 * blank may be inside, but not at an end.
 */
export const modelNamePattern =
  /^(?=.{1,200}$)[A-Za-z0-9@*/][A-Za-z0-9._:/@*+~-]*(?: +[A-Za-z0-9._:/@*+~-]+)*$/

export const aliasPattern = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$/

/** A string with a unit in the file, integer milliseconds in the program. Bounds are inclusive; timers are limited to 2^31 - 1 ms. */
export function duration({ min = '1ms', max }: { min?: string; max?: string } = {}) {
  const least = parseDuration(min) ?? 0
  const most = max === undefined ? Number.MAX_SAFE_INTEGER : (parseDuration(max) ?? Number.MAX_SAFE_INTEGER)
  return z
    .string({ error: expectedDuration })
    .regex(durationPattern, { error: expectedDuration })
    .transform((text, context) => {
      const milliseconds = parseDuration(text) ?? Number.NaN
      if (milliseconds >= least && milliseconds <= most) return milliseconds
      const range = max === undefined ? `of at least ${min}` : `from ${min} to ${max}`
      context.addIssue({ code: 'custom', message: `expected a duration ${range}` })
      return z.NEVER
    })
}

/** A string with a unit in the file, integer bytes (at least 1) in the program. */
export function size() {
  return z
    .string({ error: expectedSize })
    .regex(sizePattern, { error: expectedSize })
    .transform((text, context) => {
      const bytes = parseSize(text) ?? Number.NaN
      if (bytes >= 1 && bytes <= Number.MAX_SAFE_INTEGER) return bytes
      context.addIssue({ code: 'custom', message: 'expected a size of at least 1B' })
      return z.NEVER
    })
}

/** A positive integer. */
export function count() {
  return z.int().min(1)
}

/** White space around a secret, from a file or a variable, is not part of it, but would be sent or signed with it. */
const isTrimmed = (text: string) => text.trim() === text
const expectedTrimmed = 'expected no blank and no line break at its beginning or end'
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for.
const hasNoControls = (text: string) => !/[\u0000-\u0008\u000a-\u001f\u007f]/.test(text)
const expectedNoControls = 'expected no line breaks or other control characters'

/** A secret: present, not empty, without white space around it. Faults never show it. */
export function secret() {
  return z
    .string()
    .min(1)
    .refine(isTrimmed, { error: expectedTrimmed, abort: true })
    .refine(hasNoControls, { error: expectedNoControls, abort: true })
}

/** Characters that a header may contain (RFC 9110, 5.5). Anything else would make every call fail like a lost connection. */
const isHeaderText = (text: string) => /^[\t\u0020-\u007e\u0080-\u00ff]*$/.test(text)
const expectedHeaderText = 'expected only characters that a header can carry (Latin-1)'

/** A secret that is sent in a header. */
export function headerSecret() {
  return secret().refine(isHeaderText, { error: expectedHeaderText })
}

/** The value of a header; it may be empty. */
export function headerValue() {
  return z
    .string()
    .refine(isTrimmed, { error: expectedTrimmed, abort: true })
    .refine(hasNoControls, { error: expectedNoControls, abort: true })
    .refine(isHeaderText, { error: expectedHeaderText })
}

/** The name of an HTTP header. */
export const headerName = z
  .string()
  .regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/, { error: 'not a name of an HTTP header' })

/** The origin of a web page as browsers send it in `Origin`: scheme, host, and a port that is not the scheme's default. */
export function webOrigin() {
  const expected =
    'expected the origin of a web page such as "https://app.example": scheme, host and port alone'
  return z
    .string()
    .regex(/^https?:\/\/[^\s/?#@]+$/i, { error: expected })
    .refine((text) => URL.canParse(text), { error: expected })
    .transform((text) => new URL(text).origin)
}

/** An http or https URL without query, fragment or credentials. Trailing slashes are removed. */
export function httpUrl() {
  const expected = 'expected an http:// or https:// URL without credentials, query or fragment'
  return z
    .string()
    .regex(/^https?:\/\/[^\s?#@]+$/, { error: expected })
    .refine((text) => URL.canParse(text), { error: expected })
    .transform((text) => text.replace(/\/+$/, ''))
}
