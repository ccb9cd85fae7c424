import type { Tier } from './job.ts'

/** What one job takes from its lane. It is known before the job is fetched. */
export type JobCost = {
  /** Estimated tokens as the provider counts them against its limit. */
  tokens: number
  /** The input and the output among these tokens, for providers that limit them separately. */
  inputTokens: number
  outputTokens: number
  /** Inputs of an embedding job; 1 for others. */
  inputs: number
  /** Jobs with the same key may share a request; null: the job goes alone. */
  coalesceKey: string | null
  /** Most output tokens of each choice; null: the request sets no cap. Absent: the same as `outputTokens`. */
  outputCap?: number | null
  /** How many answers the request asks for; absent: one. */
  choices?: number
  /** How many pictures the request asks for; absent: none. */
  images?: number
  /** Seconds of sound in the input, estimated from the file; absent: none. */
  audioSeconds?: number
  /** How the job is to be served; absent: standard. */
  tier?: Exclude<Tier, 'standard'>
  /** The tier of service that the body names, unless it is standard or `tier` says the same. */
  serviceTier?: 'flex' | 'priority'
  /** Set if the job may be called at flex. */
  flex?: FlexPlan
  /** Name of the long prefix that the job shares with others, if its lane warms prompt caches. */
  prefix?: string
  /**
   * Digest of its fair key, from `digestFairKey`; absent: none. It is a part of the cost because the queue has to know
   * it.
   */
  fairKey?: string
  /** The source of its lane that the job has to go to, because what the body refers to is stored there; absent: any. */
  source?: string
  /**
   * Rates at which the request may be billed, if they are higher than those of plain input and output; absent: none.
   */
  dearRates?: DearRate[]
}

/** How long a job may be called at flex, because its tier is `flex` or flex is the cheapest way in time. */
export type FlexPlan = {
  /** From this time on the job goes at standard, Unix ms; null: `fallBackAfter` its first call. */
  until: number | null
  /** Time after the first call, ms. */
  fallBackAfter: number
  /** How long one call at flex may take, ms. */
  timeout: number
}

/**
 * `cache_write`, `cache_write_1h`: the request may write to a prompt cache. `audio`: it contains audio, or asks for it.
 */
export type DearRate = 'cache_write' | 'cache_write_1h' | 'audio'
