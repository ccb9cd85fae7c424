import { formatReset, type Level } from './limiter.ts'
import type { HeaderStyle } from './limits-like.ts'

type Levels = { requests: Level | null; tokens: Level | null }
const NAMES = ['requests', 'tokens'] as const

/** The headers that name the wait of a 429. Gemini names it in the body. */
export function retryHeaders(style: HeaderStyle, retryAfterMs: number): string[] {
  if (style === 'gemini') return []
  const milliseconds = Math.ceil(retryAfterMs)
  const seconds = ['retry-after', String(Math.ceil(milliseconds / 1000))]
  const tellsMilliseconds = style === 'openai' || style === 'azure'
  return tellsMilliseconds ? ['retry-after-ms', String(milliseconds), ...seconds] : seconds
}

/** The headers that report the state of the limits, as a flat list of names and values. */
export function limitHeaders(style: HeaderStyle, levels: Levels, now: number): string[] {
  if (style === 'gemini' || style === 'none') return []
  return NAMES.flatMap((name) => {
    const level = levels[name]
    if (level === null) return []
    if (style === 'anthropic') return anthropicHeaders(name, level, now)
    const headers = [
      `x-ratelimit-limit-${name}`,
      String(level.limit),
      `x-ratelimit-remaining-${name}`,
      String(level.remaining),
    ]
    // Azure sends no others.
    return style === 'azure' ? headers : [...headers, `x-ratelimit-reset-${name}`, formatReset(level.resetMs)]
  })
}

/** "The number of tokens remaining (rounded to the nearest thousand)", and an RFC 3339 time (Anthropic, Rate limits). */
function anthropicHeaders(name: (typeof NAMES)[number], level: Level, now: number): string[] {
  const remaining = name === 'tokens' ? Math.round(level.remaining / 1000) * 1000 : level.remaining
  const whole = new Date(Math.ceil((now + level.resetMs) / 1000) * 1000)
  return [
    `anthropic-ratelimit-${name}-limit`,
    String(level.limit),
    `anthropic-ratelimit-${name}-remaining`,
    String(remaining),
    `anthropic-ratelimit-${name}-reset`,
    whole.toISOString().replace('.000Z', 'Z'),
  ]
}
