import type { BatchSettings } from './batches/options.ts'
import type { Enforcement, HeaderStyle, LimitsLikeName, TokenCounting } from './limits-like.ts'
import { LIMITS_LIKE } from './limits-like.ts'
import type { SelfHosted } from './self-hosted.ts'

/** Limits of one simulated model; a missing member is no limit. */
export type SimulatedLimits = {
  requests_per_minute?: number
  tokens_per_minute?: number
  images_per_minute?: number
  audio_seconds_per_minute?: number
  max_concurrency?: number
}

/** Limits that several simulated models share; `*` in a name stands for any characters. */
export type SimulatedFamily = SimulatedLimits & { models: string[] }

/** All faults; docs/simulator.md explains what each does and whether it is billed. */
export const FAULT_KINDS = [
  '400',
  '401',
  '403',
  '404',
  '408',
  '409',
  '413',
  '422',
  '429',
  '498',
  '500',
  '502',
  '503',
  '504',
  '529',
  'quota',
  'flex_unavailable',
  'hang',
  'slow',
  'drip',
  'reset_before',
  'reset_after',
  'garbage',
  'wrong_shape',
  'truncated_stream',
  'error_in_200',
  'error_in_stream',
  'huge',
  'endless',
] as const
export type FaultKind = (typeof FAULT_KINDS)[number]

/** Faults of single lines of batches; calls never get them. */
export const LINE_FAULT_KINDS = ['lost_line', 'zero_line', 'null_line', 'expired_line'] as const
export type LineFaultKind = (typeof LINE_FAULT_KINDS)[number]

/** A rule for a fault. Without `rate` and `times` every matching call gets it. */
export type FaultRule = {
  kind: FaultKind | LineFaultKind
  /** Share of the matching calls, 0–1. */
  rate?: number
  /** Only the first `times` matching calls get it. */
  times?: number
  /** Part of the path, such as `embeddings`. */
  path?: string
  /** Part of the request's body. */
  match?: string
  /** The API key of the call. */
  key?: string
  /** Milliseconds to name in `retry-after-ms`; default 1000. Only for 429, 503, 529 and `flex_unavailable`, which names none by default. */
  retry_after?: number
  /** Milliseconds: the delay of `slow` (default 5000), the pause between the pieces of `drip` (100) and of `endless` (0). */
  ms?: number
}

export type SimulatorOptions = {
  /** Limits of every model without its own. */
  limits?: SimulatedLimits
  modelLimits?: Record<string, SimulatedLimits>
  /** Limits that models share, besides their own, by freely chosen names. */
  families?: Record<string, SimulatedFamily>
  /** The API keys that exist, each with its own limits for every model; other keys get a 401. Default: all keys are accepted and counted together. */
  keyLimits?: Record<string, SimulatedLimits> | null
  /**
   * How limits count. `bucket` refills continuously, holds one window's allowance and starts full. `window` allows one window's
   * allowance in any period of its length, `fixed` in each window of the clock. Default `bucket`.
   */
  enforcement?: Enforcement
  /** The length of the window, ms; the allowance is limit × window / 60,000. Default 60,000. */
  window?: number
  /** Enforces and reports limits like this provider; `enforcement` and `window` take precedence. */
  limitsLike?: LimitsLikeName
  /** What a call takes from the token limit: its estimate, or finally the tokens that it used. Default `estimate`. */
  tokenCounting?: TokenCounting
  /** Time before the first byte of an answer, ms. Default 0. */
  latencyMs?: number
  /** Time for each output token, ms. Default 0. */
  perTokenMs?: number
  /** Answers like a self-hosted server, slower with more concurrent calls of a model. Replaces `latencyMs` and `perTokenMs`. */
  selfHosted?: SelfHosted | null
  /** The most random time added to the latency, ms, uniformly distributed. Default 0. */
  jitterMs?: number
  /** The seed of the jitter and of fault rates; the same seed gives the same run. Default 1. */
  seed?: number
  /** The mean length of an answer in tokens; that of each prompt is between 0.5 and 1.5 times the mean. Default 16. */
  outputTokens?: number
  /** Tokens in one chunk of a stream. Default 4. */
  chunkTokens?: number
  /** The default length of vectors, if the request names none. Default 1536. */
  dimensions?: number
  /** An embedding request is refused as a whole if one of its inputs contains this text. Default `[[poison]]`. */
  poison?: string
  /** The models that exist; others get a 404. Default: every model exists. */
  models?: string[]
  faults?: FaultRule[]
  /** Settings of the batch APIs. */
  batches?: Partial<BatchSettings>
  /** The dialect of all answers, by its name in dialects.ts. Default: OpenAI's. */
  dialect?: string
  /** The dialects of single models. */
  modelDialects?: Record<string, string>
  /** The size of the answer for the fault `huge`, bytes. Default 80 MiB. */
  hugeBytes?: number
  /** The clock, Unix ms. */
  now?: () => number
}

export type SimulatorSettings = Required<
  Omit<SimulatorOptions, 'models' | 'now' | 'dialect' | 'limitsLike'>
> & {
  headers: HeaderStyle
  models: string[] | null
  dialect: string | null
}

/** Fills in the defaults. */
export function resolveOptions(options: SimulatorOptions): SimulatorSettings {
  const like = options.limitsLike === undefined ? null : LIMITS_LIKE[options.limitsLike]
  return {
    limits: options.limits ?? {},
    modelLimits: options.modelLimits ?? {},
    families: options.families ?? {},
    keyLimits: options.keyLimits ?? null,
    enforcement: options.enforcement ?? like?.enforcement ?? 'bucket',
    window: options.window ?? like?.window ?? 60_000,
    headers: like?.headers ?? 'openai',
    tokenCounting: options.tokenCounting ?? 'estimate',
    latencyMs: options.latencyMs ?? 0,
    perTokenMs: options.perTokenMs ?? 0,
    selfHosted: options.selfHosted ? { ...options.selfHosted } : null,
    jitterMs: options.jitterMs ?? 0,
    seed: options.seed ?? 1,
    outputTokens: options.outputTokens ?? 16,
    chunkTokens: options.chunkTokens ?? 4,
    dimensions: options.dimensions ?? 1536,
    poison: options.poison ?? '[[poison]]',
    models: options.models ?? null,
    faults: options.faults ?? [],
    batches: options.batches ?? {},
    dialect: options.dialect ?? null,
    modelDialects: options.modelDialects ?? {},
    hugeBytes: options.hugeBytes ?? 80 * 1024 * 1024,
  }
}
