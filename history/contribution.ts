import { USAGE_SUMS } from './tables.ts'
import { noUsage, type UsageContribution } from './usage-sums.ts'

/** Usage as it is stored in a record. */
type StoredUsage = {
  input_tokens?: number
  cached_input_tokens?: number
  cache_write_tokens?: number
  output_tokens?: number
  reasoning_tokens?: number
  tier?: string
  saved_nano?: number
}

/** Prices a call with this usage on a lane and a tier, in billionths of a dollar; null: no price is known. */
export type PriceUsage = (lane: string, tier: string, usage: StoredUsage) => number | null

/** A job's fair key. `digest`: to sum by. `label`: the id of the job, a line end, and the fair key as it is stored. */
export type FairKey = { digest: string; label: string }

const DAY_CHARACTERS = 'YYYY-MM-DD'.length

/**
 * Computes what an ended job adds to the sums of its day. Tokens and money count only the provider's calls. A cached or shared answer
 * adds no tokens and no cost; what it would have cost counts as saved.
 */
export function toContribution(
  record: Readonly<Record<string, string>>,
  fairKey: FairKey | null,
  { calls, unpricedCalls, costNano }: { calls: number; unpricedCalls: number; costNano: number },
  priceUsage: PriceUsage,
): UsageContribution {
  // '' if the provider reported no usage.
  const usage: StoredUsage = record.usage ? (JSON.parse(record.usage) as StoredUsage) : {}
  const lane = record.lane!
  const { cache } = record
  const isFree = cache === 'hit' || cache === 'shared'
  const tier = usage.tier ?? 'standard'
  const sums = noUsage()
  sums.jobs = 1
  sums.failed = record.status === 'failed' ? 1 : 0
  sums.calls = calls
  sums.unpriced_calls = unpricedCalls
  sums.cost_nano = costNano
  if (isFree) {
    const worth = record.status === 'completed' ? (priceUsage(lane, tier, usage) ?? 0) : 0
    if (cache === 'hit') sums.saved_cache_nano = worth
    else sums.saved_sharing_nano = worth
  } else {
    sums.input_tokens = usage.input_tokens ?? 0
    sums.cached_input_tokens = usage.cached_input_tokens ?? 0
    sums.cache_write_tokens = usage.cache_write_tokens ?? 0
    sums.output_tokens = usage.output_tokens ?? 0
    sums.reasoning_tokens = usage.reasoning_tokens ?? 0
    sums.saved_prompt_cache_nano = usage.saved_nano ?? 0
    if (tier !== 'standard') {
      const standard = priceUsage(lane, 'standard', usage)
      const served = priceUsage(lane, tier, usage)
      // A tier that costs more than the standard one saves nothing.
      if (standard !== null && served !== null) sums.saved_tiers_nano = Math.max(0, standard - served)
    }
  }
  const contribution: UsageContribution = {
    day: new Date(Number(record.finished_at)).toISOString().slice(0, DAY_CHARACTERS),
    model: lane,
    tier,
    fair_key: fairKey?.digest ?? '',
    fair_label: fairKey?.label ?? '',
  }
  for (const name of USAGE_SUMS) if (sums[name] !== 0) contribution[name] = sums[name]
  return contribution
}
