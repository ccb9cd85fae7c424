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

/** Limits that several simulated models are counted under together; `*` in a name stands for any characters. */
export type SimulatedFamily = SimulatedLimits & { models: string[] }

/** All faults; docs/simulator.md says what each does and whether it is billed. */
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

/** Faults of single lines of batches; calls never meet them. */
export const LINE_FAULT_KINDS = ['lost_line', 'zero_line', 'null_line', 'expired_line'] as const
export type LineFaultKind = (typeof LINE_FAULT_KINDS)[number]

/** A fault by rule. Without `rate` and `times` every matching call gets it. */
export type FaultRule = {
  kind: FaultKind | LineFaultKind
  /** Share of the matching calls, 0–1. */
  rate?: number
  /** Only this many matching calls get it, the first ones. */
  times?: number
  /** Part of the path, such as `embeddings`. */
  path?: string
  /** Part of the request's body. */
  match?: string
  /** The API key of the call. */
  key?: string
  /** Milliseconds to name in `retry-after-ms`; default 1000. Only for 429, 503, 529 and `flex_unavailable`, which names none by default. */
  retry_after?: number
  /** Milliseconds: how much later `slow` answers (default 5000), the pause between the pieces of `drip` (100) and of `endless` (0). */
  ms?: number
}

export type SimulatorOptions = {
  /** Of every model without its own. */
  limits?: SimulatedLimits
  modelLimits?: Record<string, SimulatedLimits>
  /** Limits that models are counted under together, besides their own; by any names. */
  families?: Record<string, SimulatedFamily>
  /** The API keys that there are, each with limits of its own for every model; others answer 401. Default: any key, all counted together. */
  keyLimits?: Record<string, SimulatedLimits> | null
  /**
   * How limits are counted: `bucket` refills continuously, holds one window's allowance and starts full; `window`
   * allows one window's allowance in any stretch of its length; `fixed` one in each window of the clock. Default
   * `bucket`.
   */
  enforcement?: Enforcement
  /** Milliseconds; the allowance is limit × window / 60,000. Default 60,000. */
  window?: number
  /** Enforces and tells limits as this provider does; `enforcement` and `window` win where they are given. */
  limitsLike?: LimitsLikeName
  /** What a call takes from the token limit: its estimate, or in the end what it used. Default `estimate`. */
  tokenCounting?: TokenCounting
  /** Milliseconds before the first byte of an answer. Default 0. */
  latencyMs?: number
  /** Milliseconds for each output token. Default 0. */
  perTokenMs?: number
  /** Answers as a server of one's own does, slower with more calls at once, in place of `latencyMs` and `perTokenMs`. Each model alone. */
  selfHosted?: SelfHosted | null
  /** Up to so many milliseconds are added to the latency, evenly spread. Default 0. */
  jitterMs?: number
  /** Of the jitter and the rates of faults; the same seed gives the same run. Default 1. */
  seed?: number
  /** Mean length of an answer; each prompt has its own between half and one and a half of it. Default 16. */
  outputTokens?: number
  /** Tokens in one chunk of a stream. Default 4. */
  chunkTokens?: number
  /** Length of vectors where the request names none. Default 1536. */
  dimensions?: number
  /** Embedding requests with an input that contains this are refused as a whole. Default `[[poison]]`. */
  poison?: string
  /** Models that exist; any others answer 404. Default: every name does. */
  models?: string[]
  faults?: FaultRule[]
  /** How its batch APIs behave. */
  batches?: Partial<BatchSettings>
  /** How everything is said: a name of dialects.ts. Default: as OpenAI says it. */
  dialect?: string
  /** The dialects of single models. */
  modelDialects?: Record<string, string>
  /** Size of the answer of the fault `huge`. Default 80 MiB. */
  hugeBytes?: number
  /** Unix milliseconds. */
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
