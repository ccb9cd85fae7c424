/** The API's answers, as far as the page reads them. Times are RFC 3339 UTC. */

export type JobStatus = 'scheduled' | 'queued' | 'running' | 'completed' | 'failed' | 'cancelled'
export const jobStatuses: readonly JobStatus[] = [
  'scheduled',
  'queued',
  'running',
  'completed',
  'failed',
  'cancelled',
]

export type Counted = {
  requests: number | null
  tokens: number | null
  input_tokens: number | null
  output_tokens: number | null
}

export type LaneLimits = Counted & {
  images: number | null
  audio_seconds: number | null
  requests_per_day: number | null
  concurrency: number | null
  window_ms: number
  headroom: number
}

/** A limit that several lanes share. */
export type SharedLimit = {
  name: string
  limits: LaneLimits
  utilisation: number
  speed: number
  in_flight: number
  paused_until: string | null
  throttled: number
}

/** One of the keys, accounts, regions or deployments that serve a lane. */
export type Source = {
  name: string
  model: string
  weight: number
  limits: LaneLimits
  utilisation: number
  in_flight: number
  paused_until: string | null
  shut: { until: string; reason: string } | null
  breaker: { state: 'closed' | 'open' | 'half_open' }
  throttled: number
}

/** A service tier other than standard, with a pause and a breaker of its own. */
export type ServiceTier = {
  name: string
  paused_until: string | null
  paused_reason: string | null
  speed: number
  breaker: { state: 'closed' | 'open' | 'half_open'; failures: number }
}

export type Lane = {
  id: string
  provider: string
  model: string
  kind: string
  limits: LaneLimits
  shared_limits: readonly SharedLimit[]
  sources: readonly Source[]
  held_back_by: { kind: 'lane' | 'shared_limit'; name: string } | null
  window: { configured: number | 'auto'; learned: number | null }
  token_counting: { configured: 'estimate' | 'used' | 'auto'; learned: 'estimate' | 'used' | null }
  learned: { requests: number | null; tokens: number | null; concurrency: number | null }
  rates: Counted
  speed: number
  levels: Counted
  utilisation: number
  used: Counted
  backlog: { waiting: number; delayed: number; held: number }
  in_flight: number
  paused_until: string | null
  paused_reason: string | null
  waiting_for: string | null
  breaker: {
    state: 'closed' | 'open' | 'half_open'
    failures: number
    held_tenants: readonly string[]
    last_broken: readonly BrokenCall[]
  }
  tiers: readonly ServiceTier[]
  latency_ms: { p50: number | null; p95: number | null }
  throttled: number
}

export type BrokenCall = {
  at: string
  status: number | null
  code: string
  message: string | null
  jobs: { tenant: string; id: string }[]
}

export type Counts = Record<JobStatus, number>

export type Tenant = {
  id: string
  weight: number
  counts: Counts
  max_queued: number | null
  paused_until: string | null
  paused_reason: string | null
  waiting_for_fair_keys: number
  spent_usd: number
  reserved_usd: number
  budget_usd_per_day: number | null
  finished_per_minute: number
  share: number
}

export type Group = {
  tenant: string
  group: string
  total: number
  counts: Counts
  /** The sum of the calls with a price, USD; null: no call has a price. */
  cost_usd: number | null
  unpriced_calls: number
  estimated_finish_at: string | null
  updated_at: string
}

export type Batch = {
  tenant: string
  id: string
  status: string
  created_at: string | number
  request_counts: { total: number; completed: number; failed: number }
  estimated_finish_at: string | null
}

export type Failure = {
  tenant: string
  lane: string
  code: string
  count: number
  last_at: string
  /** True if a retry may succeed. */
  retryable: boolean
}

/** The owner of the key, and its scopes. */
export type Caller = {
  tenant: string
  scopes: ('jobs' | 'read' | 'metrics' | 'admin')[]
  /** True if the key sees all tenants. */
  reads_all: boolean
  open: boolean
  figures: Tenant | null
}

export type Overview = {
  at: string
  lanes: Lane[]
  /** At most 200, those with the most open jobs. */
  tenants: Tenant[]
  /** The number of all tenants. */
  tenant_count: number
  /** The database of finished jobs; null: none is configured. Absent: the server is of an earlier release. */
  history?: {
    status: 'available' | 'unavailable'
    unavailable_since: string | null
    /** What fails. Absent: the server is of an earlier release. */
    fails?: 'everything' | 'writes' | null
    error?: string | null
    waiting_jobs: number
    waiting_since: string | null
  } | null
  groups: Group[]
  batches: Batch[]
  failures: Failure[]
  /** Lanes without a known price. */
  unpriced: { lane: string; budgets: string[] }[]
}

/** A budget, with what is spent and reserved of it. */
export type Budget = {
  id: string
  tenant: string
  owner: 'tenant' | 'key' | 'fair_key' | 'group' | 'flow'
  /** The name of the budget's owner; null: the tenant itself. */
  name: string | null
  label: string | null
  usd: number
  per: 'day' | 'week' | 'month' | 'total'
  time_zone: string
  window_end: string | null
  spent_usd: number
  reserved_usd: number
}

/** A sample of all figures at one time. `lanes`: without idle lanes. */
export type OverviewSample = {
  at: string
  total: {
    finished_per_minute: number
    in_flight: number
    waiting: number
    failed: number
    spent_usd: number
    throttled: number
  }
  lanes: Record<
    string,
    { in_flight: number; waiting: number; throttled: number; paused: boolean; used: Counted }
  >
}
export type OverviewHistory = { recent: OverviewSample[]; hours: OverviewSample[] }

export type JobError = {
  code: string
  message: string
  provider_status: number | null
  retryable: boolean
  provider_error?: object
}

export type Usage = {
  input_tokens: number
  cached_input_tokens?: number
  cache_write_tokens?: number
  audio_input_tokens?: number
  output_tokens: number
  reasoning_tokens?: number
  audio_output_tokens?: number
  total_tokens: number
}

export type Job = {
  id: string
  type:
    | 'chat'
    | 'response'
    | 'message'
    | 'embedding'
    | 'completion'
    | 'moderation'
    | 'rerank'
    | 'image'
    | 'image_edit'
    | 'speech'
    | 'transcription'
    | 'translation'
  status: JobStatus
  model: string
  lane: string
  group: string | null
  priority: string
  tier: string
  served_tier: string | null
  metadata: Record<string, string>
  created_at: string
  run_at: string | null
  started_at: string | null
  finished_at: string | null
  deadline: string | null
  attempts: number
  max_attempts: number
  next_attempt_at: string | null
  estimated_start_at: string | null
  waiting_for: string | null
  cache: string
  result: object | null
  usage: Usage | null
  cost_usd: number | null
  cost_is_estimate: boolean
  prompt_cache_saved_usd?: number
  error: JobError | null
  /** The step of the durable run to which the job belongs. */
  durable?: { id: string; step: string }
}

/** A job with its tenant; lists of one tenant do not name it. */
export type OwnedJob = Job & { tenant?: string }

export type Attempt = {
  attempt: number
  provider: string
  model: string
  started_at: string
  latency_ms: number | null
  outcome: string
  status: number | null
  error_code: string | null
  usage: Usage | null
  cost_usd: number | null
  waited_ms: number
  waited_for: string | null
  ambiguous: boolean
  coalesced: number
}

/** A URL to which webhooks were sent. */
export type WebhookEndpoint = {
  url: string
  delivered: number
  failed: number
  last_at: string
  last_status: number | null
  last_error: string | null
  failing_since: string | null
}

export type Delivery = {
  id: string
  /** The id of the job or flow. */
  job_id: string
  event: string
  url: string
  status: 'pending' | 'delivered' | 'failed'
  created_at: string
  next_attempt_at: string | null
  attempts: {
    at: string
    status: number | null
    error: string | null
    latency_ms: number
    retry_after_ms?: number
  }[]
}

/** The estimated cost of jobs. */
export type Estimate = {
  input_tokens: number
  output_tokens: number
  tiers: { standard: { usd: number | null } | null }
  refused: { examples: { error: { message: string } }[] }
}

/** A file in OpenAI's format; times are Unix seconds. */
export type StoredFile = {
  id: string
  filename: string
  purpose: string
  bytes: number
  created_at: number
  expires_at?: number
}

export type List<Entry> = {
  data: Entry[]
  has_more: boolean
  last_id: string | null
  /** For lists of jobs: how many were scanned, if the page ended before it was full. */
  scanned?: number
}

/** The usage of ended jobs, grouped by those of the first members that the request names. Money is USD. */
export type UsageEntry = {
  day?: string
  tenant?: string
  model?: string
  tier?: string
  fair_key?: string | null
  jobs: number
  failed: number
  calls: number
  input_tokens: number
  cached_input_tokens: number
  cache_write_tokens: number
  output_tokens: number
  reasoning_tokens: number
  cost_usd: number | null
  unpriced_calls: number
  saved_cache_usd: number
  saved_sharing_usd: number
  saved_tiers_usd: number
  saved_prompt_cache_usd: number
}

/** Days are UTC, both included. `rest`: the sums of the entries that are left out. */
export type UsageList = List<UsageEntry> & {
  from: string
  to: string
  rest: (UsageEntry & { entries: number }) | null
}

/** A batch at a provider. */
export type ProviderBatch = {
  id: string
  lane: string
  type: string
  state: 'gathered' | 'uploading' | 'creating' | 'in_progress' | 'cancelling' | 'ended'
  outcome: 'completed' | 'failed' | 'expired' | 'cancelled' | 'refused' | 'lost' | 'empty' | null
  provider_id: string | null
  lines: { total: number; completed: number; failed: number; left: number; dropped: number }
  cost_usd: number | null
  saved_usd: number
  submitted_at: string | null
  ended_at: string | null
  leave_at: string | null
  error: string | null
}

export type RunOutcome = 'created' | 'skipped' | 'missed' | 'refused'

export type ScheduleRun = {
  id: string
  trigger: 'slot' | 'manual'
  scheduled_for: string
  outcome: RunOutcome
  job_id: string | null
  flow_id: string | null
  error: { code: string; message: string } | null
}

export type Schedule = {
  id: string
  created_at: string
  name: string | null
  cron: string | null
  every: string | null
  time_zone: string
  job: object | null
  flow: object | null
  overlap: string
  catch_up: string
  starts_at: string | null
  ends_at: string | null
  max_runs: number | null
  paused: boolean
  metadata: Record<string, string>
  source: 'api' | 'file'
  next_runs: string[]
  last_run: Omit<ScheduleRun, 'id' | 'trigger'> | null
  runs: number
}

export type RedriveFilter = {
  lane?: string
  error_code?: string
  group?: string
  limit?: number
  dry_run: boolean
}
export type BulkCancelled = { cancelled: number; dry_run: boolean; matched: number }
export type Redriven = { retried: number; dry_run: boolean; matched: number }

export type FlowStatus = 'running' | 'waiting' | 'completed' | 'failed' | 'cancelled'
type FlowFailure = { code: string; message: string }

/** A flow in a list. */
export type FlowSummary = {
  id: string
  name: string
  status: FlowStatus
  step_counts: { total: number; completed: number; failed: number; skipped: number }
  error: FlowFailure | null
  cost_usd: number | null
  unpriced_calls: number
  created_at: string
  finished_at: string | null
}

export type FlowStep = {
  status: 'blocked' | 'waiting' | 'queued' | 'running' | 'completed' | 'failed' | 'skipped' | 'cancelled'
  needs: string[]
  jobs: { total: number; completed: number; failed: number }
  job_id: string | null
  error: FlowFailure | null
  started_at: string | null
  finished_at: string | null
}

export type Flow = FlowSummary & { steps: Record<string, FlowStep>; output: unknown }

/** A tenant with its settings. `source`: where you can change it. */
export type TenantDetails = { name: string; source: 'file' | 'api'; weight: number; models: string[] | null }

/** A key that was created by the API. */
export type Key = {
  id: string
  tenant: string
  name: string | null
  hint: string
  scopes: string[]
  models: string[] | null
  expires_at: string | null
}

export type NewKey = Key & { secret: string }
