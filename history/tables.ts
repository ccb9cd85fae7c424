import type { Generated } from 'kysely'

/** The tables; the files in `migrations/` describe them. Times are Unix ms, money is billionths of a dollar. */
export type Tables = {
  history_jobs: JobRow
  history_contents: { root: string; key: string; value: Buffer }
  history_metadata: { root: string; pair: string; created_at: number; id: string }
  history_deliveries: { root: string; id: string; job: string }
  history_groups: { root: string; name: string; changed_at: number }
  history_usage: UsageRow
  history_migrations: { number: number; name: string; applied_at: Generated<string> }
}

/** States of a row of `history_jobs`. `there`: shown. `open`: the job is in Redis again and shown from there. `deleted`: only remembers the deletion. */
export const RowState = { there: 0, open: 1, deleted: 2 } as const

export type JobRow = {
  root: string
  id: string
  state: number
  created_at: number
  finished_at: number
  expires_at: number
  block: number
  status: string
  type: string
  model: string
  lane: string
  group_name: string | null
  schedule: string | null
  error_code: string | null
  retryable: number
  cost_nano: number
  result_key: string | null
  event_count: number
  usage: string
  record: string
  attempts: string
  deliveries: string
}

/** The sums in each row of `history_usage`. */
export const USAGE_SUMS = [
  'jobs',
  'failed',
  'calls',
  'input_tokens',
  'cached_input_tokens',
  'cache_write_tokens',
  'output_tokens',
  'reasoning_tokens',
  'cost_nano',
  'unpriced_calls',
  'saved_cache_nano',
  'saved_sharing_nano',
  'saved_tiers_nano',
  'saved_prompt_cache_nano',
] as const
export type UsageSums = Record<(typeof USAGE_SUMS)[number], number>

/** One row of `history_usage`: the sums of a tenant's day, model, tier and fair key. */
export type UsageRow = UsageSums & {
  root: string
  day: string
  model: string
  tier: string
  fair_key: string
  fair_label: string
}
