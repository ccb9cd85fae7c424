/** Ways to enforce a limit per minute; docs/simulator.md explains them. */
export const ENFORCEMENTS = ['bucket', 'window', 'fixed'] as const
export type Enforcement = (typeof ENFORCEMENTS)[number]

/** Whose headers report the limits. `none` sends only the wait of a 429; `gemini` puts that wait into the body. */
export type HeaderStyle = 'openai' | 'anthropic' | 'azure' | 'gemini' | 'none'

/** A way to enforce and report limits. `window` is in ms. */
export type LimitsLike = { enforcement: Enforcement; window: number; headers: HeaderStyle }

/**
 * How providers enforce the same number per minute. OpenAI: a bucket of a minute. Anthropic: "60 requests per minute may be
 * enforced as 1 request per second". Azure: evaluation periods of 1 or 10 seconds. Gemini: minutes of the clock, without headers.
 * A sliding log: any period of a minute, like gateways that keep a list of times.
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

/** How tokens count. `estimate`: the estimate with `max_tokens`. `used`: corrected to the tokens used, once the call is answered. */
export const TOKEN_COUNTINGS = ['estimate', 'used'] as const
export type TokenCounting = (typeof TOKEN_COUNTINGS)[number]
