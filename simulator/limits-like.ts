/** How a limit a minute is enforced; docs/simulator.md says it for people. */
export const ENFORCEMENTS = ['bucket', 'window', 'fixed'] as const
export type Enforcement = (typeof ENFORCEMENTS)[number]

/** Whose headers tell how limits stand; `none` sends nothing but the wait of a 429, `gemini` puts that into the body. */
export type HeaderStyle = 'openai' | 'anthropic' | 'azure' | 'gemini' | 'none'

/** A way of enforcement. */
export type LimitsLike = { enforcement: Enforcement; window: number; headers: HeaderStyle }

/**
 * Ways in which providers enforce the same numbers a minute. OpenAI: a bucket of a minute. Anthropic: "60 requests per
 * minute may be enforced as 1 request per second". Azure: evaluation periods of 1 or 10 seconds. Gemini: the minutes
 * of the clock, and no headers. A sliding log: any stretch of a minute, as gateways with a list of times count.
 */
export const LIMITS_LIKE = {
  openai: { enforcement: 'bucket', window: 60_000, headers: 'openai' },
  anthropic: { enforcement: 'bucket', window: 1000, headers: 'anthropic' },
  'azure-1s': { enforcement: 'fixed', window: 1000, headers: 'azure' },
  'azure-10s': { enforcement: 'fixed', window: 10_000, headers: 'azure' },
  gemini: { enforcement: 'fixed', window: 60_000, headers: 'gemini' },
  'sliding-log': { enforcement: 'window', window: 60_000, headers: 'none' },
} as const satisfies Record<string, LimitsLike>
export type LimitsLikeName = keyof typeof LIMITS_LIKE
export const LIMITS_LIKE_NAMES = Object.keys(LIMITS_LIKE) as LimitsLikeName[]

/** How tokens count: the estimate with `max_tokens`, kept; or what was used, once the call is answered. */
export const TOKEN_COUNTINGS = ['estimate', 'used'] as const
export type TokenCounting = (typeof TOKEN_COUNTINGS)[number]
