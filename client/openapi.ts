// Written by `npm run client:types` from the API's OpenAPI document; not to be edited by hand.

/**
 * Passes through to the provider unchanged, of any type: an interface, such as the bodies of the package `openai`,
 * fits no index of `unknown`.
 */
export type Untouched = any

export type Attempt = {
  attempt: number
  provider: string
  model: string
  /** The source that was called; null: the lane has no sources, or the call has not ended. */
  source: string | null
  /** RFC 3339, UTC, with milliseconds. */
  started_at: string
  latency_ms: number | null
  outcome: 'running' | 'completed' | 'throttled' | 'retryable' | 'timeout' | 'failed' | 'aborted' | 'lost'
  /** The provider's HTTP status. */
  status: number | null
  error_code: string | null
  /** The tier that the call asked for. */
  tier: 'standard' | 'flex' | 'batch' | 'auto'
  /** The tier that the answer names; null: it has none. */
  served_tier: string | null
  usage: Usage | null
  /** True: the provider did not state all of the usage; the rest is estimated. */
  usage_is_estimate: boolean
  /** Null: unknown, or none. */
  cost_usd: number | null
  /** True: the cost, or a part of it, is estimated, because the provider did not report all counts. */
  cost_is_estimate: boolean
  waited_ms: number
  waited_for: 'requests' | 'tokens' | 'concurrency' | 'provider_pause' | 'retry_delay' | 'schedule' | 'budget' | 'provider_batch' | 'fair_key' | 'tenant_pause' | null
  /** True if it is unknown whether the provider did, and billed, the work. */
  ambiguous: boolean
  /** Number of jobs in the provider request. */
  coalesced: number
}

export type Budget = {
  /** The kind of owner of the budget. */
  owner: 'tenant' | 'key' | 'fair_key' | 'group' | 'flow'
  /** Id of the key or flow, name of the group, or digest of the fair key; null for the tenant. */
  name: string | null
  usd: number
  per: 'day' | 'week' | 'month' | 'total'
  time_zone: string
  /** null: it has no windows. */
  window_start: string | null
  window_end: string | null
  spent_usd: number
  /** What open jobs may cost. */
  reserved_usd: number
}

export type BulkAnswer = {
  index: number
  id: string
  status: string
} | {
  index: number
  error: ErrorMembers
}

export type BulkLine = {
  type: 'chat'
  body: ChatBody
  /** Default `normal`. */
  priority?: 'high' | 'normal' | 'low' | null
  /** Not before this many milliseconds from now. */
  delay_ms?: number | null
  /** Not before this time. Not together with `delay_ms`. */
  run_at?: string | null
  /** A job still waiting then fails; one that cannot start by then is refused. */
  deadline?: string | null
  /** `standard`; `flex`: slower, for about half the price; `batch`: within the deadline or a day, for half the price; `auto`: the cheapest way that meets the deadline. Default: `flex` if the body has `service_tier: flex`, else the default of the lane. */
  tier?: 'standard' | 'flex' | 'batch' | 'auto' | null
  /** Timeout of one call. Default: the lane's. */
  timeout_ms?: number | null
  /** Default: the lane's. */
  max_attempts?: number | null
  /** Default `use`. */
  cache?: 'use' | 'refresh' | 'off' | null
  webhook?: {
    url: string
    /** Default: all three. */
    events?: ('job.completed' | 'job.failed' | 'job.cancelled')[]
  } | null
  /** Jobs of a group are counted and followed together. */
  group?: string | null
  /** The user of the tenant that the job is for: turns rotate among the tenant's fair keys. Default: `safety_identifier`, `user` or `metadata.user_id` of the body. null: no key. */
  fair_key?: string | null
  metadata?: Record<string, string> | null
  /** Like the `Idempotency-Key` header of a single job. */
  idempotency_key?: string | null
} | {
  type: 'response'
  body: ResponseBody
  /** Default `normal`. */
  priority?: 'high' | 'normal' | 'low' | null
  /** Not before this many milliseconds from now. */
  delay_ms?: number | null
  /** Not before this time. Not together with `delay_ms`. */
  run_at?: string | null
  /** A job still waiting then fails; one that cannot start by then is refused. */
  deadline?: string | null
  /** `standard`; `flex`: slower, for about half the price; `batch`: within the deadline or a day, for half the price; `auto`: the cheapest way that meets the deadline. Default: `flex` if the body has `service_tier: flex`, else the default of the lane. */
  tier?: 'standard' | 'flex' | 'batch' | 'auto' | null
  /** Timeout of one call. Default: the lane's. */
  timeout_ms?: number | null
  /** Default: the lane's. */
  max_attempts?: number | null
  /** Default `use`. */
  cache?: 'use' | 'refresh' | 'off' | null
  webhook?: {
    url: string
    /** Default: all three. */
    events?: ('job.completed' | 'job.failed' | 'job.cancelled')[]
  } | null
  /** Jobs of a group are counted and followed together. */
  group?: string | null
  /** The user of the tenant that the job is for: turns rotate among the tenant's fair keys. Default: `safety_identifier`, `user` or `metadata.user_id` of the body. null: no key. */
  fair_key?: string | null
  metadata?: Record<string, string> | null
  /** Like the `Idempotency-Key` header of a single job. */
  idempotency_key?: string | null
} | {
  type: 'message'
  body: MessageBody
  /** Default `normal`. */
  priority?: 'high' | 'normal' | 'low' | null
  /** Not before this many milliseconds from now. */
  delay_ms?: number | null
  /** Not before this time. Not together with `delay_ms`. */
  run_at?: string | null
  /** A job still waiting then fails; one that cannot start by then is refused. */
  deadline?: string | null
  /** `standard`; `flex`: slower, for about half the price; `batch`: within the deadline or a day, for half the price; `auto`: the cheapest way that meets the deadline. Default: `flex` if the body has `service_tier: flex`, else the default of the lane. */
  tier?: 'standard' | 'flex' | 'batch' | 'auto' | null
  /** Timeout of one call. Default: the lane's. */
  timeout_ms?: number | null
  /** Default: the lane's. */
  max_attempts?: number | null
  /** Default `use`. */
  cache?: 'use' | 'refresh' | 'off' | null
  webhook?: {
    url: string
    /** Default: all three. */
    events?: ('job.completed' | 'job.failed' | 'job.cancelled')[]
  } | null
  /** Jobs of a group are counted and followed together. */
  group?: string | null
  /** The user of the tenant that the job is for: turns rotate among the tenant's fair keys. Default: `safety_identifier`, `user` or `metadata.user_id` of the body. null: no key. */
  fair_key?: string | null
  metadata?: Record<string, string> | null
  /** Like the `Idempotency-Key` header of a single job. */
  idempotency_key?: string | null
} | {
  type: 'embedding'
  body: EmbeddingBody
  /** Default `normal`. */
  priority?: 'high' | 'normal' | 'low' | null
  /** Not before this many milliseconds from now. */
  delay_ms?: number | null
  /** Not before this time. Not together with `delay_ms`. */
  run_at?: string | null
  /** A job still waiting then fails; one that cannot start by then is refused. */
  deadline?: string | null
  /** `standard`; `flex`: slower, for about half the price; `batch`: within the deadline or a day, for half the price; `auto`: the cheapest way that meets the deadline. Default: `flex` if the body has `service_tier: flex`, else the default of the lane. */
  tier?: 'standard' | 'flex' | 'batch' | 'auto' | null
  /** Timeout of one call. Default: the lane's. */
  timeout_ms?: number | null
  /** Default: the lane's. */
  max_attempts?: number | null
  /** Default `use`. */
  cache?: 'use' | 'refresh' | 'off' | null
  webhook?: {
    url: string
    /** Default: all three. */
    events?: ('job.completed' | 'job.failed' | 'job.cancelled')[]
  } | null
  /** Jobs of a group are counted and followed together. */
  group?: string | null
  /** The user of the tenant that the job is for: turns rotate among the tenant's fair keys. Default: `safety_identifier`, `user` or `metadata.user_id` of the body. null: no key. */
  fair_key?: string | null
  metadata?: Record<string, string> | null
  /** Like the `Idempotency-Key` header of a single job. */
  idempotency_key?: string | null
} | {
  type: 'completion'
  body: CompletionBody
  /** Default `normal`. */
  priority?: 'high' | 'normal' | 'low' | null
  /** Not before this many milliseconds from now. */
  delay_ms?: number | null
  /** Not before this time. Not together with `delay_ms`. */
  run_at?: string | null
  /** A job still waiting then fails; one that cannot start by then is refused. */
  deadline?: string | null
  /** `standard`; `flex`: slower, for about half the price; `batch`: within the deadline or a day, for half the price; `auto`: the cheapest way that meets the deadline. Default: `flex` if the body has `service_tier: flex`, else the default of the lane. */
  tier?: 'standard' | 'flex' | 'batch' | 'auto' | null
  /** Timeout of one call. Default: the lane's. */
  timeout_ms?: number | null
  /** Default: the lane's. */
  max_attempts?: number | null
  /** Default `use`. */
  cache?: 'use' | 'refresh' | 'off' | null
  webhook?: {
    url: string
    /** Default: all three. */
    events?: ('job.completed' | 'job.failed' | 'job.cancelled')[]
  } | null
  /** Jobs of a group are counted and followed together. */
  group?: string | null
  /** The user of the tenant that the job is for: turns rotate among the tenant's fair keys. Default: `safety_identifier`, `user` or `metadata.user_id` of the body. null: no key. */
  fair_key?: string | null
  metadata?: Record<string, string> | null
  /** Like the `Idempotency-Key` header of a single job. */
  idempotency_key?: string | null
} | {
  type: 'moderation'
  body: ModerationBody
  /** Default `normal`. */
  priority?: 'high' | 'normal' | 'low' | null
  /** Not before this many milliseconds from now. */
  delay_ms?: number | null
  /** Not before this time. Not together with `delay_ms`. */
  run_at?: string | null
  /** A job still waiting then fails; one that cannot start by then is refused. */
  deadline?: string | null
  /** `standard`; `flex`: slower, for about half the price; `batch`: within the deadline or a day, for half the price; `auto`: the cheapest way that meets the deadline. Default: `flex` if the body has `service_tier: flex`, else the default of the lane. */
  tier?: 'standard' | 'flex' | 'batch' | 'auto' | null
  /** Timeout of one call. Default: the lane's. */
  timeout_ms?: number | null
  /** Default: the lane's. */
  max_attempts?: number | null
  /** Default `use`. */
  cache?: 'use' | 'refresh' | 'off' | null
  webhook?: {
    url: string
    /** Default: all three. */
    events?: ('job.completed' | 'job.failed' | 'job.cancelled')[]
  } | null
  /** Jobs of a group are counted and followed together. */
  group?: string | null
  /** The user of the tenant that the job is for: turns rotate among the tenant's fair keys. Default: `safety_identifier`, `user` or `metadata.user_id` of the body. null: no key. */
  fair_key?: string | null
  metadata?: Record<string, string> | null
  /** Like the `Idempotency-Key` header of a single job. */
  idempotency_key?: string | null
} | {
  type: 'rerank'
  body: RerankBody
  /** Default `normal`. */
  priority?: 'high' | 'normal' | 'low' | null
  /** Not before this many milliseconds from now. */
  delay_ms?: number | null
  /** Not before this time. Not together with `delay_ms`. */
  run_at?: string | null
  /** A job still waiting then fails; one that cannot start by then is refused. */
  deadline?: string | null
  /** `standard`; `flex`: slower, for about half the price; `batch`: within the deadline or a day, for half the price; `auto`: the cheapest way that meets the deadline. Default: `flex` if the body has `service_tier: flex`, else the default of the lane. */
  tier?: 'standard' | 'flex' | 'batch' | 'auto' | null
  /** Timeout of one call. Default: the lane's. */
  timeout_ms?: number | null
  /** Default: the lane's. */
  max_attempts?: number | null
  /** Default `use`. */
  cache?: 'use' | 'refresh' | 'off' | null
  webhook?: {
    url: string
    /** Default: all three. */
    events?: ('job.completed' | 'job.failed' | 'job.cancelled')[]
  } | null
  /** Jobs of a group are counted and followed together. */
  group?: string | null
  /** The user of the tenant that the job is for: turns rotate among the tenant's fair keys. Default: `safety_identifier`, `user` or `metadata.user_id` of the body. null: no key. */
  fair_key?: string | null
  metadata?: Record<string, string> | null
  /** Like the `Idempotency-Key` header of a single job. */
  idempotency_key?: string | null
} | {
  type: 'image'
  body: ImageBody
  /** Default `normal`. */
  priority?: 'high' | 'normal' | 'low' | null
  /** Not before this many milliseconds from now. */
  delay_ms?: number | null
  /** Not before this time. Not together with `delay_ms`. */
  run_at?: string | null
  /** A job still waiting then fails; one that cannot start by then is refused. */
  deadline?: string | null
  /** `standard`; `flex`: slower, for about half the price; `batch`: within the deadline or a day, for half the price; `auto`: the cheapest way that meets the deadline. Default: `flex` if the body has `service_tier: flex`, else the default of the lane. */
  tier?: 'standard' | 'flex' | 'batch' | 'auto' | null
  /** Timeout of one call. Default: the lane's. */
  timeout_ms?: number | null
  /** Default: the lane's. */
  max_attempts?: number | null
  /** Default `use`. */
  cache?: 'use' | 'refresh' | 'off' | null
  webhook?: {
    url: string
    /** Default: all three. */
    events?: ('job.completed' | 'job.failed' | 'job.cancelled')[]
  } | null
  /** Jobs of a group are counted and followed together. */
  group?: string | null
  /** The user of the tenant that the job is for: turns rotate among the tenant's fair keys. Default: `safety_identifier`, `user` or `metadata.user_id` of the body. null: no key. */
  fair_key?: string | null
  metadata?: Record<string, string> | null
  /** Like the `Idempotency-Key` header of a single job. */
  idempotency_key?: string | null
} | {
  type: 'image_edit'
  body: ImageEditBody
  /** Default `normal`. */
  priority?: 'high' | 'normal' | 'low' | null
  /** Not before this many milliseconds from now. */
  delay_ms?: number | null
  /** Not before this time. Not together with `delay_ms`. */
  run_at?: string | null
  /** A job still waiting then fails; one that cannot start by then is refused. */
  deadline?: string | null
  /** `standard`; `flex`: slower, for about half the price; `batch`: within the deadline or a day, for half the price; `auto`: the cheapest way that meets the deadline. Default: `flex` if the body has `service_tier: flex`, else the default of the lane. */
  tier?: 'standard' | 'flex' | 'batch' | 'auto' | null
  /** Timeout of one call. Default: the lane's. */
  timeout_ms?: number | null
  /** Default: the lane's. */
  max_attempts?: number | null
  /** Default `use`. */
  cache?: 'use' | 'refresh' | 'off' | null
  webhook?: {
    url: string
    /** Default: all three. */
    events?: ('job.completed' | 'job.failed' | 'job.cancelled')[]
  } | null
  /** Jobs of a group are counted and followed together. */
  group?: string | null
  /** The user of the tenant that the job is for: turns rotate among the tenant's fair keys. Default: `safety_identifier`, `user` or `metadata.user_id` of the body. null: no key. */
  fair_key?: string | null
  metadata?: Record<string, string> | null
  /** Like the `Idempotency-Key` header of a single job. */
  idempotency_key?: string | null
} | {
  type: 'speech'
  body: SpeechBody
  /** Default `normal`. */
  priority?: 'high' | 'normal' | 'low' | null
  /** Not before this many milliseconds from now. */
  delay_ms?: number | null
  /** Not before this time. Not together with `delay_ms`. */
  run_at?: string | null
  /** A job still waiting then fails; one that cannot start by then is refused. */
  deadline?: string | null
  /** `standard`; `flex`: slower, for about half the price; `batch`: within the deadline or a day, for half the price; `auto`: the cheapest way that meets the deadline. Default: `flex` if the body has `service_tier: flex`, else the default of the lane. */
  tier?: 'standard' | 'flex' | 'batch' | 'auto' | null
  /** Timeout of one call. Default: the lane's. */
  timeout_ms?: number | null
  /** Default: the lane's. */
  max_attempts?: number | null
  /** Default `use`. */
  cache?: 'use' | 'refresh' | 'off' | null
  webhook?: {
    url: string
    /** Default: all three. */
    events?: ('job.completed' | 'job.failed' | 'job.cancelled')[]
  } | null
  /** Jobs of a group are counted and followed together. */
  group?: string | null
  /** The user of the tenant that the job is for: turns rotate among the tenant's fair keys. Default: `safety_identifier`, `user` or `metadata.user_id` of the body. null: no key. */
  fair_key?: string | null
  metadata?: Record<string, string> | null
  /** Like the `Idempotency-Key` header of a single job. */
  idempotency_key?: string | null
} | {
  type: 'transcription'
  body: TranscriptionBody
  /** Default `normal`. */
  priority?: 'high' | 'normal' | 'low' | null
  /** Not before this many milliseconds from now. */
  delay_ms?: number | null
  /** Not before this time. Not together with `delay_ms`. */
  run_at?: string | null
  /** A job still waiting then fails; one that cannot start by then is refused. */
  deadline?: string | null
  /** `standard`; `flex`: slower, for about half the price; `batch`: within the deadline or a day, for half the price; `auto`: the cheapest way that meets the deadline. Default: `flex` if the body has `service_tier: flex`, else the default of the lane. */
  tier?: 'standard' | 'flex' | 'batch' | 'auto' | null
  /** Timeout of one call. Default: the lane's. */
  timeout_ms?: number | null
  /** Default: the lane's. */
  max_attempts?: number | null
  /** Default `use`. */
  cache?: 'use' | 'refresh' | 'off' | null
  webhook?: {
    url: string
    /** Default: all three. */
    events?: ('job.completed' | 'job.failed' | 'job.cancelled')[]
  } | null
  /** Jobs of a group are counted and followed together. */
  group?: string | null
  /** The user of the tenant that the job is for: turns rotate among the tenant's fair keys. Default: `safety_identifier`, `user` or `metadata.user_id` of the body. null: no key. */
  fair_key?: string | null
  metadata?: Record<string, string> | null
  /** Like the `Idempotency-Key` header of a single job. */
  idempotency_key?: string | null
} | {
  type: 'translation'
  body: TranslationBody
  /** Default `normal`. */
  priority?: 'high' | 'normal' | 'low' | null
  /** Not before this many milliseconds from now. */
  delay_ms?: number | null
  /** Not before this time. Not together with `delay_ms`. */
  run_at?: string | null
  /** A job still waiting then fails; one that cannot start by then is refused. */
  deadline?: string | null
  /** `standard`; `flex`: slower, for about half the price; `batch`: within the deadline or a day, for half the price; `auto`: the cheapest way that meets the deadline. Default: `flex` if the body has `service_tier: flex`, else the default of the lane. */
  tier?: 'standard' | 'flex' | 'batch' | 'auto' | null
  /** Timeout of one call. Default: the lane's. */
  timeout_ms?: number | null
  /** Default: the lane's. */
  max_attempts?: number | null
  /** Default `use`. */
  cache?: 'use' | 'refresh' | 'off' | null
  webhook?: {
    url: string
    /** Default: all three. */
    events?: ('job.completed' | 'job.failed' | 'job.cancelled')[]
  } | null
  /** Jobs of a group are counted and followed together. */
  group?: string | null
  /** The user of the tenant that the job is for: turns rotate among the tenant's fair keys. Default: `safety_identifier`, `user` or `metadata.user_id` of the body. null: no key. */
  fair_key?: string | null
  metadata?: Record<string, string> | null
  /** Like the `Idempotency-Key` header of a single job. */
  idempotency_key?: string | null
}

export type ChangeSchedule = {
  /** For people; it need not be unique. */
  name?: string | null
  /** Five fields, six with seconds in front, or `@daily` and its like; local times of `time_zone`. */
  cron?: string | null
  every?: string | null
  /** Of `cron`. Default `UTC`. */
  time_zone?: string | null
  /** What each slot creates, as `POST /v1/jobs` takes it. The default of its `cache` is `refresh`. */
  job?: CreateJob | null
  /** Instead of `job`: what `POST /v1/flows` takes. */
  flow?: CreateFlow | null
  /** What happens to a slot while the job of the previous slot is open. Default `allow`. */
  overlap?: 'allow' | 'skip' | 'cancel_previous' | null
  /** Which missed slots are made up for: `none`, the `latest`, or `all` (at most 100). Default `latest`. */
  catch_up?: 'none' | 'latest' | 'all' | null
  /** No slot before. With `every` the first slot. */
  starts_at?: string | null
  /** No slot after. */
  ends_at?: string | null
  /** The schedule ends after this many slots have created a job. */
  max_runs?: number | null
  /** While true no slot is run, nor caught up later. */
  paused?: boolean | null
  metadata?: Record<string, string> | null
}

/** A body of `POST /chat/completions`. */
export type ChatBody = {
  /** `provider/model`, or an alias of the configuration. */
  model: string
  messages: {
    role: string
    [member: string]: Untouched
  }[]
  /** True: chunks are published as `job.delta` events as they arrive. */
  stream?: boolean | null
  [member: string]: Untouched
}

/** A body of `POST /completions`. */
export type CompletionBody = {
  /** `provider/model`, or an alias of the configuration. */
  model: string
  prompt: string | Untouched[]
  /** True: chunks are published as `job.delta` events as they arrive. */
  stream?: boolean | null
  [member: string]: Untouched
}

export type CreateFlow = {
  name: string
  /** What expressions read as `input`. */
  input?: Untouched
  /** By name. References and `needs` say what comes before what. */
  steps: Record<string, FlowStepDefinition>
  /** What the flow comes to; its strings may hold expressions, `${{ … }}`. */
  output?: Untouched
  /** Default `stop`: the first failed step cancels everything that still runs. `continue`: other branches run to their end. */
  on_failure?: 'stop' | 'continue' | null
  /** Most that its jobs may cost, those under way included. */
  budget_usd?: number | null
  /** What its jobs may cost in a day, a week or a month; they wait for the next window. */
  budgets?: ({
    /** USD that may be spent in a window. */
    usd: number
    /** The window; a week begins on Monday. */
    per: 'day' | 'week' | 'month'
    /** Where days begin at midnight. Default UTC. */
    time_zone?: string
  })[] | null
  /** A flow that has not ended by then fails. */
  deadline?: string | null
  webhook?: {
    url: string
    /** Default: all three. */
    events?: ('flow.completed' | 'flow.failed' | 'flow.cancelled')[]
  } | null
  /** Of its jobs that name none themselves. */
  group?: string | null
  metadata?: Record<string, string> | null
}

export type CreateJob = {
  type: 'chat'
  body: ChatBody
  /** Default `normal`. */
  priority?: 'high' | 'normal' | 'low' | null
  /** Not before this many milliseconds from now. */
  delay_ms?: number | null
  /** Not before this time. Not together with `delay_ms`. */
  run_at?: string | null
  /** A job still waiting then fails; one that cannot start by then is refused. */
  deadline?: string | null
  /** `standard`; `flex`: slower, for about half the price; `batch`: within the deadline or a day, for half the price; `auto`: the cheapest way that meets the deadline. Default: `flex` if the body has `service_tier: flex`, else the default of the lane. */
  tier?: 'standard' | 'flex' | 'batch' | 'auto' | null
  /** Timeout of one call. Default: the lane's. */
  timeout_ms?: number | null
  /** Default: the lane's. */
  max_attempts?: number | null
  /** Default `use`. */
  cache?: 'use' | 'refresh' | 'off' | null
  webhook?: {
    url: string
    /** Default: all three. */
    events?: ('job.completed' | 'job.failed' | 'job.cancelled')[]
  } | null
  /** Jobs of a group are counted and followed together. */
  group?: string | null
  /** The user of the tenant that the job is for: turns rotate among the tenant's fair keys. Default: `safety_identifier`, `user` or `metadata.user_id` of the body. null: no key. */
  fair_key?: string | null
  metadata?: Record<string, string> | null
} | {
  type: 'response'
  body: ResponseBody
  /** Default `normal`. */
  priority?: 'high' | 'normal' | 'low' | null
  /** Not before this many milliseconds from now. */
  delay_ms?: number | null
  /** Not before this time. Not together with `delay_ms`. */
  run_at?: string | null
  /** A job still waiting then fails; one that cannot start by then is refused. */
  deadline?: string | null
  /** `standard`; `flex`: slower, for about half the price; `batch`: within the deadline or a day, for half the price; `auto`: the cheapest way that meets the deadline. Default: `flex` if the body has `service_tier: flex`, else the default of the lane. */
  tier?: 'standard' | 'flex' | 'batch' | 'auto' | null
  /** Timeout of one call. Default: the lane's. */
  timeout_ms?: number | null
  /** Default: the lane's. */
  max_attempts?: number | null
  /** Default `use`. */
  cache?: 'use' | 'refresh' | 'off' | null
  webhook?: {
    url: string
    /** Default: all three. */
    events?: ('job.completed' | 'job.failed' | 'job.cancelled')[]
  } | null
  /** Jobs of a group are counted and followed together. */
  group?: string | null
  /** The user of the tenant that the job is for: turns rotate among the tenant's fair keys. Default: `safety_identifier`, `user` or `metadata.user_id` of the body. null: no key. */
  fair_key?: string | null
  metadata?: Record<string, string> | null
} | {
  type: 'message'
  body: MessageBody
  /** Default `normal`. */
  priority?: 'high' | 'normal' | 'low' | null
  /** Not before this many milliseconds from now. */
  delay_ms?: number | null
  /** Not before this time. Not together with `delay_ms`. */
  run_at?: string | null
  /** A job still waiting then fails; one that cannot start by then is refused. */
  deadline?: string | null
  /** `standard`; `flex`: slower, for about half the price; `batch`: within the deadline or a day, for half the price; `auto`: the cheapest way that meets the deadline. Default: `flex` if the body has `service_tier: flex`, else the default of the lane. */
  tier?: 'standard' | 'flex' | 'batch' | 'auto' | null
  /** Timeout of one call. Default: the lane's. */
  timeout_ms?: number | null
  /** Default: the lane's. */
  max_attempts?: number | null
  /** Default `use`. */
  cache?: 'use' | 'refresh' | 'off' | null
  webhook?: {
    url: string
    /** Default: all three. */
    events?: ('job.completed' | 'job.failed' | 'job.cancelled')[]
  } | null
  /** Jobs of a group are counted and followed together. */
  group?: string | null
  /** The user of the tenant that the job is for: turns rotate among the tenant's fair keys. Default: `safety_identifier`, `user` or `metadata.user_id` of the body. null: no key. */
  fair_key?: string | null
  metadata?: Record<string, string> | null
} | {
  type: 'embedding'
  body: EmbeddingBody
  /** Default `normal`. */
  priority?: 'high' | 'normal' | 'low' | null
  /** Not before this many milliseconds from now. */
  delay_ms?: number | null
  /** Not before this time. Not together with `delay_ms`. */
  run_at?: string | null
  /** A job still waiting then fails; one that cannot start by then is refused. */
  deadline?: string | null
  /** `standard`; `flex`: slower, for about half the price; `batch`: within the deadline or a day, for half the price; `auto`: the cheapest way that meets the deadline. Default: `flex` if the body has `service_tier: flex`, else the default of the lane. */
  tier?: 'standard' | 'flex' | 'batch' | 'auto' | null
  /** Timeout of one call. Default: the lane's. */
  timeout_ms?: number | null
  /** Default: the lane's. */
  max_attempts?: number | null
  /** Default `use`. */
  cache?: 'use' | 'refresh' | 'off' | null
  webhook?: {
    url: string
    /** Default: all three. */
    events?: ('job.completed' | 'job.failed' | 'job.cancelled')[]
  } | null
  /** Jobs of a group are counted and followed together. */
  group?: string | null
  /** The user of the tenant that the job is for: turns rotate among the tenant's fair keys. Default: `safety_identifier`, `user` or `metadata.user_id` of the body. null: no key. */
  fair_key?: string | null
  metadata?: Record<string, string> | null
} | {
  type: 'completion'
  body: CompletionBody
  /** Default `normal`. */
  priority?: 'high' | 'normal' | 'low' | null
  /** Not before this many milliseconds from now. */
  delay_ms?: number | null
  /** Not before this time. Not together with `delay_ms`. */
  run_at?: string | null
  /** A job still waiting then fails; one that cannot start by then is refused. */
  deadline?: string | null
  /** `standard`; `flex`: slower, for about half the price; `batch`: within the deadline or a day, for half the price; `auto`: the cheapest way that meets the deadline. Default: `flex` if the body has `service_tier: flex`, else the default of the lane. */
  tier?: 'standard' | 'flex' | 'batch' | 'auto' | null
  /** Timeout of one call. Default: the lane's. */
  timeout_ms?: number | null
  /** Default: the lane's. */
  max_attempts?: number | null
  /** Default `use`. */
  cache?: 'use' | 'refresh' | 'off' | null
  webhook?: {
    url: string
    /** Default: all three. */
    events?: ('job.completed' | 'job.failed' | 'job.cancelled')[]
  } | null
  /** Jobs of a group are counted and followed together. */
  group?: string | null
  /** The user of the tenant that the job is for: turns rotate among the tenant's fair keys. Default: `safety_identifier`, `user` or `metadata.user_id` of the body. null: no key. */
  fair_key?: string | null
  metadata?: Record<string, string> | null
} | {
  type: 'moderation'
  body: ModerationBody
  /** Default `normal`. */
  priority?: 'high' | 'normal' | 'low' | null
  /** Not before this many milliseconds from now. */
  delay_ms?: number | null
  /** Not before this time. Not together with `delay_ms`. */
  run_at?: string | null
  /** A job still waiting then fails; one that cannot start by then is refused. */
  deadline?: string | null
  /** `standard`; `flex`: slower, for about half the price; `batch`: within the deadline or a day, for half the price; `auto`: the cheapest way that meets the deadline. Default: `flex` if the body has `service_tier: flex`, else the default of the lane. */
  tier?: 'standard' | 'flex' | 'batch' | 'auto' | null
  /** Timeout of one call. Default: the lane's. */
  timeout_ms?: number | null
  /** Default: the lane's. */
  max_attempts?: number | null
  /** Default `use`. */
  cache?: 'use' | 'refresh' | 'off' | null
  webhook?: {
    url: string
    /** Default: all three. */
    events?: ('job.completed' | 'job.failed' | 'job.cancelled')[]
  } | null
  /** Jobs of a group are counted and followed together. */
  group?: string | null
  /** The user of the tenant that the job is for: turns rotate among the tenant's fair keys. Default: `safety_identifier`, `user` or `metadata.user_id` of the body. null: no key. */
  fair_key?: string | null
  metadata?: Record<string, string> | null
} | {
  type: 'rerank'
  body: RerankBody
  /** Default `normal`. */
  priority?: 'high' | 'normal' | 'low' | null
  /** Not before this many milliseconds from now. */
  delay_ms?: number | null
  /** Not before this time. Not together with `delay_ms`. */
  run_at?: string | null
  /** A job still waiting then fails; one that cannot start by then is refused. */
  deadline?: string | null
  /** `standard`; `flex`: slower, for about half the price; `batch`: within the deadline or a day, for half the price; `auto`: the cheapest way that meets the deadline. Default: `flex` if the body has `service_tier: flex`, else the default of the lane. */
  tier?: 'standard' | 'flex' | 'batch' | 'auto' | null
  /** Timeout of one call. Default: the lane's. */
  timeout_ms?: number | null
  /** Default: the lane's. */
  max_attempts?: number | null
  /** Default `use`. */
  cache?: 'use' | 'refresh' | 'off' | null
  webhook?: {
    url: string
    /** Default: all three. */
    events?: ('job.completed' | 'job.failed' | 'job.cancelled')[]
  } | null
  /** Jobs of a group are counted and followed together. */
  group?: string | null
  /** The user of the tenant that the job is for: turns rotate among the tenant's fair keys. Default: `safety_identifier`, `user` or `metadata.user_id` of the body. null: no key. */
  fair_key?: string | null
  metadata?: Record<string, string> | null
} | {
  type: 'image'
  body: ImageBody
  /** Default `normal`. */
  priority?: 'high' | 'normal' | 'low' | null
  /** Not before this many milliseconds from now. */
  delay_ms?: number | null
  /** Not before this time. Not together with `delay_ms`. */
  run_at?: string | null
  /** A job still waiting then fails; one that cannot start by then is refused. */
  deadline?: string | null
  /** `standard`; `flex`: slower, for about half the price; `batch`: within the deadline or a day, for half the price; `auto`: the cheapest way that meets the deadline. Default: `flex` if the body has `service_tier: flex`, else the default of the lane. */
  tier?: 'standard' | 'flex' | 'batch' | 'auto' | null
  /** Timeout of one call. Default: the lane's. */
  timeout_ms?: number | null
  /** Default: the lane's. */
  max_attempts?: number | null
  /** Default `use`. */
  cache?: 'use' | 'refresh' | 'off' | null
  webhook?: {
    url: string
    /** Default: all three. */
    events?: ('job.completed' | 'job.failed' | 'job.cancelled')[]
  } | null
  /** Jobs of a group are counted and followed together. */
  group?: string | null
  /** The user of the tenant that the job is for: turns rotate among the tenant's fair keys. Default: `safety_identifier`, `user` or `metadata.user_id` of the body. null: no key. */
  fair_key?: string | null
  metadata?: Record<string, string> | null
} | {
  type: 'image_edit'
  body: ImageEditBody
  /** Default `normal`. */
  priority?: 'high' | 'normal' | 'low' | null
  /** Not before this many milliseconds from now. */
  delay_ms?: number | null
  /** Not before this time. Not together with `delay_ms`. */
  run_at?: string | null
  /** A job still waiting then fails; one that cannot start by then is refused. */
  deadline?: string | null
  /** `standard`; `flex`: slower, for about half the price; `batch`: within the deadline or a day, for half the price; `auto`: the cheapest way that meets the deadline. Default: `flex` if the body has `service_tier: flex`, else the default of the lane. */
  tier?: 'standard' | 'flex' | 'batch' | 'auto' | null
  /** Timeout of one call. Default: the lane's. */
  timeout_ms?: number | null
  /** Default: the lane's. */
  max_attempts?: number | null
  /** Default `use`. */
  cache?: 'use' | 'refresh' | 'off' | null
  webhook?: {
    url: string
    /** Default: all three. */
    events?: ('job.completed' | 'job.failed' | 'job.cancelled')[]
  } | null
  /** Jobs of a group are counted and followed together. */
  group?: string | null
  /** The user of the tenant that the job is for: turns rotate among the tenant's fair keys. Default: `safety_identifier`, `user` or `metadata.user_id` of the body. null: no key. */
  fair_key?: string | null
  metadata?: Record<string, string> | null
} | {
  type: 'speech'
  body: SpeechBody
  /** Default `normal`. */
  priority?: 'high' | 'normal' | 'low' | null
  /** Not before this many milliseconds from now. */
  delay_ms?: number | null
  /** Not before this time. Not together with `delay_ms`. */
  run_at?: string | null
  /** A job still waiting then fails; one that cannot start by then is refused. */
  deadline?: string | null
  /** `standard`; `flex`: slower, for about half the price; `batch`: within the deadline or a day, for half the price; `auto`: the cheapest way that meets the deadline. Default: `flex` if the body has `service_tier: flex`, else the default of the lane. */
  tier?: 'standard' | 'flex' | 'batch' | 'auto' | null
  /** Timeout of one call. Default: the lane's. */
  timeout_ms?: number | null
  /** Default: the lane's. */
  max_attempts?: number | null
  /** Default `use`. */
  cache?: 'use' | 'refresh' | 'off' | null
  webhook?: {
    url: string
    /** Default: all three. */
    events?: ('job.completed' | 'job.failed' | 'job.cancelled')[]
  } | null
  /** Jobs of a group are counted and followed together. */
  group?: string | null
  /** The user of the tenant that the job is for: turns rotate among the tenant's fair keys. Default: `safety_identifier`, `user` or `metadata.user_id` of the body. null: no key. */
  fair_key?: string | null
  metadata?: Record<string, string> | null
} | {
  type: 'transcription'
  body: TranscriptionBody
  /** Default `normal`. */
  priority?: 'high' | 'normal' | 'low' | null
  /** Not before this many milliseconds from now. */
  delay_ms?: number | null
  /** Not before this time. Not together with `delay_ms`. */
  run_at?: string | null
  /** A job still waiting then fails; one that cannot start by then is refused. */
  deadline?: string | null
  /** `standard`; `flex`: slower, for about half the price; `batch`: within the deadline or a day, for half the price; `auto`: the cheapest way that meets the deadline. Default: `flex` if the body has `service_tier: flex`, else the default of the lane. */
  tier?: 'standard' | 'flex' | 'batch' | 'auto' | null
  /** Timeout of one call. Default: the lane's. */
  timeout_ms?: number | null
  /** Default: the lane's. */
  max_attempts?: number | null
  /** Default `use`. */
  cache?: 'use' | 'refresh' | 'off' | null
  webhook?: {
    url: string
    /** Default: all three. */
    events?: ('job.completed' | 'job.failed' | 'job.cancelled')[]
  } | null
  /** Jobs of a group are counted and followed together. */
  group?: string | null
  /** The user of the tenant that the job is for: turns rotate among the tenant's fair keys. Default: `safety_identifier`, `user` or `metadata.user_id` of the body. null: no key. */
  fair_key?: string | null
  metadata?: Record<string, string> | null
} | {
  type: 'translation'
  body: TranslationBody
  /** Default `normal`. */
  priority?: 'high' | 'normal' | 'low' | null
  /** Not before this many milliseconds from now. */
  delay_ms?: number | null
  /** Not before this time. Not together with `delay_ms`. */
  run_at?: string | null
  /** A job still waiting then fails; one that cannot start by then is refused. */
  deadline?: string | null
  /** `standard`; `flex`: slower, for about half the price; `batch`: within the deadline or a day, for half the price; `auto`: the cheapest way that meets the deadline. Default: `flex` if the body has `service_tier: flex`, else the default of the lane. */
  tier?: 'standard' | 'flex' | 'batch' | 'auto' | null
  /** Timeout of one call. Default: the lane's. */
  timeout_ms?: number | null
  /** Default: the lane's. */
  max_attempts?: number | null
  /** Default `use`. */
  cache?: 'use' | 'refresh' | 'off' | null
  webhook?: {
    url: string
    /** Default: all three. */
    events?: ('job.completed' | 'job.failed' | 'job.cancelled')[]
  } | null
  /** Jobs of a group are counted and followed together. */
  group?: string | null
  /** The user of the tenant that the job is for: turns rotate among the tenant's fair keys. Default: `safety_identifier`, `user` or `metadata.user_id` of the body. null: no key. */
  fair_key?: string | null
  metadata?: Record<string, string> | null
}

export type CreateSchedule = {
  /** For people; it need not be unique. */
  name?: string | null
  /** Five fields, six with seconds in front, or `@daily` and its like; local times of `time_zone`. */
  cron?: string | null
  every?: string | null
  /** Of `cron`. Default `UTC`. */
  time_zone?: string | null
  /** What each slot creates, as `POST /v1/jobs` takes it. The default of its `cache` is `refresh`. */
  job?: CreateJob | null
  /** Instead of `job`: what `POST /v1/flows` takes. */
  flow?: CreateFlow | null
  /** What happens to a slot while the job of the previous slot is open. Default `allow`. */
  overlap?: 'allow' | 'skip' | 'cancel_previous' | null
  /** Which missed slots are made up for: `none`, the `latest`, or `all` (at most 100). Default `latest`. */
  catch_up?: 'none' | 'latest' | 'all' | null
  /** No slot before. With `every` the first slot. */
  starts_at?: string | null
  /** No slot after. */
  ends_at?: string | null
  /** The schedule ends after this many slots have created a job. */
  max_runs?: number | null
  /** While true no slot is run, nor caught up later. */
  paused?: boolean | null
  metadata?: Record<string, string> | null
}

export type DeleteFlowAnswer = {
  id: string
  object: 'flow'
  deleted: true
}

export type DurableRun = {
  object: 'durable.run'
  id: string
  /** RFC 3339, UTC, with milliseconds. */
  created_at: string
  /** In the order in which they began. */
  steps: ({
    name: string
    kind: 'job' | 'sleep' | 'signal'
    status: 'waiting' | 'completed' | 'failed' | 'cancelled' | 'timed_out'
    /** RFC 3339, UTC, with milliseconds. */
    created_at: string
    wake_at: string | null
    sent_at: string | null
    job_id: string | null
  })[]
}

export type DurableRunSummary = {
  object: 'durable.run'
  id: string
  /** RFC 3339, UTC, with milliseconds. */
  created_at: string
  /** Until when it is kept, if its last job has ended by then. Each request for a step and each signal moves it. */
  expires_at: string
  /** Steps that began. */
  step_count: number
  /** Signals that came. */
  signal_count: number
}

export type DurableSignal = {
  object: 'durable.signal'
  durable: string
  name: string
  /** RFC 3339, UTC, with milliseconds. */
  sent_at: string
}

export type DurableStep = {
  object: 'durable.step'
  /** The id of the run. */
  durable: string
  name: string
  kind: 'job' | 'sleep' | 'signal'
  status: 'waiting' | 'completed' | 'failed' | 'cancelled' | 'timed_out'
  /** RFC 3339, UTC, with milliseconds. */
  created_at: string
  /** When the sleep is over, or the wait for the signal given up. */
  wake_at: string | null
  /** Until `wake_at`, by the clock of Redis; 0 when it is over. */
  left_ms: number | null
  /** Of a step that is a job; null of one that was not made yet. */
  job: Job | null
  /** What was sent as the signal. */
  value: unknown
  /** When the signal was sent. */
  sent_at: string | null
}

/** A body of `POST /embeddings`. */
export type EmbeddingBody = {
  /** `provider/model`, or an alias of the configuration. */
  model: string
  /** A string, strings, tokens, or arrays of tokens; objects if the model takes images. */
  input: string | Untouched[] | {
    [member: string]: Untouched
  }
  [member: string]: Untouched
}

export type ErrorAnswer = {
  error: ErrorMembers
}

export type ErrorMembers = {
  /** What was wrong, and where. */
  message: string
  type: string
  /** The member or header at fault. */
  param: string | null
  code: 'invalid_request' | 'unauthorized' | 'forbidden' | 'not_found' | 'model_not_found' | 'request_timeout' | 'unsupported_type' | 'not_cancellable' | 'not_signallable' | 'not_retryable' | 'step_changed' | 'already_signalled' | 'signal_timeout' | 'events_expired' | 'tenant_exists' | 'tenant_in_use' | 'no_tenants' | 'read_only' | 'payload_too_large' | 'storage_full' | 'upgrade_required' | 'idempotency_key_reused' | 'too_many_tenants' | 'too_many_keys' | 'too_many_budgets' | 'too_many_schedules' | 'exceeds_limit' | 'deadline_unreachable' | 'queue_full' | 'rate_limited' | 'budget_exhausted' | 'headers_too_large' | 'internal_error' | 'unavailable' | 'file_store_unavailable'
}

export type Estimate = {
  object: 'estimate'
  jobs: number
  /** Jobs that share the call of an equal one. */
  shared: number
  input_tokens: number
  /** If every answer is as long as its request allows. */
  output_tokens: number
  /** Images requested. */
  images: number
  /** Seconds of audio sent. */
  audio_seconds: number
  /** Sums of all jobs. On lanes without a tier they count at standard. */
  tiers: {
    /** Null: no lane of the jobs has this tier. */
    standard: {
      /** At most; null: the price of a model is unknown. */
      usd: number | null
      /** The latest end; null: unknown. */
      ends_at: string | null
    } | null
    /** Null: no lane of the jobs has this tier. */
    flex: {
      /** At most; null: the price of a model is unknown. */
      usd: number | null
      /** The latest end; null: unknown. */
      ends_at: string | null
    } | null
    /** Null: no lane of the jobs has this tier. */
    batch: {
      /** At most; null: the price of a model is unknown. */
      usd: number | null
      /** The latest end; null: unknown. */
      ends_at: string | null
    } | null
  }
  lanes: ({
    lane: string
    jobs: number
    /** Jobs that share the call of an equal one. */
    shared: number
    input_tokens: number
    /** If every answer is as long as its request allows. */
    output_tokens: number
    /** Images requested. */
    images: number
    /** Seconds of audio sent. */
    audio_seconds: number
    /** The limit that takes longest, such as `tokens`, or `tokens of opus` for a shared limit; null: none. */
    bound_by: string | null
    tiers: {
      /** Null: no lane of the jobs has this tier. */
      standard: {
        /** At most; null: the price of a model is unknown. */
        usd: number | null
        /** The latest end; null: unknown. */
        ends_at: string | null
      } | null
      /** Null: no lane of the jobs has this tier. */
      flex: {
        /** At most; null: the price of a model is unknown. */
        usd: number | null
        /** The latest end; null: unknown. */
        ends_at: string | null
      } | null
      /** Null: no lane of the jobs has this tier. */
      batch: {
        /** At most; null: the price of a model is unknown. */
        usd: number | null
        /** The latest end; null: unknown. */
        ends_at: string | null
      } | null
    }
  })[]
  refused: {
    count: number
    examples: {
      index: number
      error: {
        code: string
        message: string
        [member: string]: unknown
      }
    }[]
  }
}

export type Flow = {
  id: string
  object: 'flow'
  name: string
  status: 'running' | 'waiting' | 'completed' | 'failed' | 'cancelled'
  /** How many of its steps stand how. */
  step_counts: {
    total: number
    completed: number
    failed: number
    skipped: number
  }
  error: JobError | null
  /** Of all its jobs. */
  usage: Usage
  /** USD, of the calls whose models have a price. Null: none of them has one. */
  cost_usd: number | null
  /** Calls whose models have no price; their cost is unknown. */
  unpriced_calls: number
  budget_usd: number | null
  budgets: ({
    usd: number
    per: 'day' | 'week' | 'month'
    time_zone: string
  })[]
  deadline: string | null
  group: string | null
  metadata: Record<string, string>
  /** How often it was retried. */
  retries: number
  /** RFC 3339, UTC, with milliseconds. */
  created_at: string
  finished_at: string | null
  steps: Record<string, FlowStep>
  output: unknown
}

/** The `data` of one event. Terminal events carry the whole flow. */
export type FlowEvent = {
  flow_id: string
  /** Counts from 1 within the flow, without gaps. */
  seq: number
  /** RFC 3339, UTC, with milliseconds. */
  at: string
  step?: string
  [member: string]: unknown
}

export type FlowStep = {
  status: 'blocked' | 'waiting' | 'queued' | 'running' | 'completed' | 'failed' | 'skipped' | 'cancelled'
  /** Steps that have to end first: those it names, and those its expressions read. */
  needs: string[]
  jobs: {
    total: number
    completed: number
    failed: number
  }
  /** Of a step with one job. */
  job_id: string | null
  /** With `for_each` a list in the order of the elements, null for one that failed. */
  result: unknown
  /** The result is too large for this answer: `result_url` has it. */
  result_omitted?: true
  /** The path of its job, or of the jobs of all elements. */
  result_url?: string
  signal: unknown
  error: JobError | null
  started_at: string | null
  finished_at: string | null
}

export type FlowStepDefinition = {
  /** What `POST /v1/jobs` takes; every string of it may hold expressions, `${{ … }}`. */
  job?: {
    [member: string]: Untouched
  }
  /** A list, or an expression that gives one: one job for each element, which is `item` in the expressions of `job`. */
  for_each?: Untouched
  /** With `for_each`: most jobs of it that are open at once. */
  max_in_flight?: number | null
  /** With `for_each`: so many may fail. Default 0. */
  allow_failures?: number | null
  /** Instead of `job`: waits for `POST /v1/flows/{id}/signals/{step}`. */
  wait_for_signal?: {
    timeout?: string | null
  } | null
  /** Steps that have to complete first, besides those that its expressions name. */
  needs?: string[] | null
  /** True: the step runs when all the steps it needs have ended and one of them completed. */
  needs_any?: boolean | null
  /** An expression; where it comes to false or null the step is skipped. */
  when?: Untouched
  on_failure?: 'fail' | 'skip' | {
    /** Any JSON value. */
    value: Untouched
  } | null
}

export type FlowStepJobs = {
  object: 'list'
  data: ({
    index: number
    /** Null: it has none yet. */
    job: Job | null
  })[]
  total: number
  has_more: boolean
}

export type FlowSummary = {
  id: string
  object: 'flow'
  name: string
  status: 'running' | 'waiting' | 'completed' | 'failed' | 'cancelled'
  /** How many of its steps stand how. */
  step_counts: {
    total: number
    completed: number
    failed: number
    skipped: number
  }
  error: JobError | null
  /** Of all its jobs. */
  usage: Usage
  /** USD, of the calls whose models have a price. Null: none of them has one. */
  cost_usd: number | null
  /** Calls whose models have no price; their cost is unknown. */
  unpriced_calls: number
  budget_usd: number | null
  budgets: ({
    usd: number
    per: 'day' | 'week' | 'month'
    time_zone: string
  })[]
  deadline: string | null
  group: string | null
  metadata: Record<string, string>
  /** How often it was retried. */
  retries: number
  /** RFC 3339, UTC, with milliseconds. */
  created_at: string
  finished_at: string | null
}

export type FollowFlowQuery = {
  /** For clients that cannot send the header `Last-Event-ID`. */
  last_event_id?: string
}

export type FollowJobQuery = {
  /** For clients that cannot send the header `Last-Event-ID`. */
  last_event_id?: string
}

export type GetJobQuery = {
  /** Waits up to this many seconds until the job is finished. `Prefer: wait=N` does the same. */
  wait?: number
}

export type Group = {
  group: string
  total: number
  counts: {
    scheduled: number
    queued: number
    running: number
    completed: number
    failed: number
    cancelled: number
  }
  /** USD, of the calls whose models have a price. Null: none of them has one. */
  cost_usd: number | null
  /** Calls whose models have no price; their cost is unknown. */
  unpriced_calls: number
  estimated_finish_at: string | null
  /** Its budgets, with their usage. */
  budgets: Budget[]
}

/** A body of `POST /images/generations`. */
export type ImageBody = {
  /** `provider/model`, or an alias of the configuration. */
  model: string
  prompt: string
  /** Number of images; each counts. */
  n?: number | null
  /** True: chunks are published as `job.delta` events as they arrive. */
  stream?: boolean | null
  [member: string]: Untouched
}

/** A body of `POST /images/edits`, with files by their ids. */
export type ImageEditBody = {
  /** `provider/model`, or an alias of the configuration. */
  model: string
  prompt: string
  /** Number of images; each counts. */
  n?: number | null
  /** True: chunks are published as `job.delta` events as they arrive. */
  stream?: boolean | null
  /** The images to edit, as ids of files. */
  image: string | string[]
  /** Transparent where the image should change. */
  mask?: string | null
  [member: string]: Untouched
}

export type Job = {
  id: string
  object: 'job'
  type: 'chat' | 'response' | 'message' | 'embedding' | 'completion' | 'moderation' | 'rerank' | 'image' | 'image_edit' | 'speech' | 'transcription' | 'translation'
  status: 'scheduled' | 'queued' | 'running' | 'completed' | 'failed' | 'cancelled'
  model: string
  lane: string
  group: string | null
  /** The user of the tenant that the job is for, as set or by its body; null: none. */
  fair_key: string | null
  /** The durable run that it belongs to, and its step; absent elsewhere. */
  durable?: {
    id: string
    step: string
  }
  /** The flow that it belongs to, its step and, with `for_each`, its element; absent elsewhere. */
  flow?: {
    id: string
    step: string
    index: number
  }
  priority: 'high' | 'normal' | 'low'
  /** The tier it is served at: as set, or the lane's default. */
  tier: 'standard' | 'flex' | 'batch' | 'auto'
  /** The tier that the answer names, which decides the price: `standard`, `flex`, `batch`, `priority` or another name of the provider. Null: no answer yet. */
  served_tier: string | null
  metadata: Record<string, string>
  /** RFC 3339, UTC, with milliseconds. */
  created_at: string
  run_at: string | null
  started_at: string | null
  finished_at: string | null
  deadline: string | null
  attempts: number
  max_attempts: number
  /** How often it was queued again by the configuration after it failed. */
  redrives: number
  next_attempt_at: string | null
  estimated_start_at: string | null
  waiting_for: 'requests' | 'tokens' | 'concurrency' | 'provider_pause' | 'retry_delay' | 'schedule' | 'budget' | 'provider_batch' | 'fair_key' | 'tenant_pause' | null
  cache: 'miss' | 'hit' | 'shared' | 'off'
  /** The provider's response body as OpenAI shapes it. */
  result: {
    [member: string]: unknown
  } | null
  /** The job has a result, but this answer leaves it out: `result` is null, and `GET /v1/jobs/{id}` has it. Absent otherwise. */
  result_omitted?: true
  /** Where an omitted result is: the path of the job. */
  result_url?: string
  usage: Usage | null
  /** Members of the body that the provider does not support, dropped because of `on_unsupported: drop`. */
  dropped_members: string[]
  /** True: the provider did not state all of the usage; the rest is estimated. */
  usage_is_estimate: boolean
  /** USD for all calls of the job. Null: unknown, or no call has ended. */
  cost_usd: number | null
  /** True: the cost, or a part of it, is estimated, because the provider did not report all counts. */
  cost_is_estimate: boolean
  /** Savings by the provider's prompt cache, compared with plain input; absent: none. */
  prompt_cache_saved_usd?: number
  error: JobError | null
}

export type JobError = {
  code: string
  message: string
  provider_status: number | null
  retryable: boolean
  /** The provider's own error object, without keys; absent where it gave none. */
  provider_error?: {
    [member: string]: unknown
  }
}

/** The `data` of one event. Terminal events carry the whole job; those of a group without results of over 64 KiB, see `result_omitted`. */
export type JobEvent = {
  job_id: string
  /** Counts from 1 within the job, without gaps. */
  seq: number
  /** RFC 3339, UTC, with milliseconds. */
  at: string
  [member: string]: unknown
}

export type ListAttemptsAnswer = {
  object: 'list'
  data: Attempt[]
  has_more: boolean
  first_id: string | null
  last_id: string | null
}

export type ListDurableRunsAnswer = {
  object: 'list'
  data: DurableRunSummary[]
  has_more: boolean
  first_id: string | null
  last_id: string | null
}

export type ListDurableRunsQuery = {
  limit?: number
  after?: string
}

export type ListFlowStepJobsQuery = {
  limit?: number
  /** The first element of the page. */
  from?: number
}

export type ListFlowsAnswer = {
  object: 'list'
  data: FlowSummary[]
  has_more: boolean
  first_id: string | null
  last_id: string | null
  /** How many flows were read, if the page ended at the limit of flows that a page reads. Continue with `last_id`. */
  scanned?: number
}

export type ListFlowsQuery = {
  status?: 'running' | 'waiting' | 'completed' | 'failed' | 'cancelled'
  name?: string
  limit?: number
  /** The last id of the page before. It may have been deleted since. */
  after?: string
}

export type ListJobsAnswer = {
  object: 'list'
  data: Job[]
  has_more: boolean
  first_id: string | null
  last_id: string | null
  /** How many jobs were read, if the page ended at the limit of jobs that a page reads. The page may be short; continue with `last_id`. */
  scanned?: number
  /** With `include=result`: how many jobs of this page still have `result_omitted`. */
  omitted_results?: number
}

export type ListJobsQuery = {
  status?: 'scheduled' | 'queued' | 'running' | 'completed' | 'failed' | 'cancelled'
  type?: 'chat' | 'response' | 'message' | 'embedding' | 'completion' | 'moderation' | 'rerank' | 'image' | 'image_edit' | 'speech' | 'transcription' | 'translation'
  group?: string
  lane?: string
  /** Jobs of this schedule. */
  schedule?: string
  /** The model as the client named it: `provider/model`, or an alias. */
  model?: string
  error_code?: string
  /** Created at this time or later. */
  created_after?: string
  /** Created before this time. */
  created_before?: string
  /** Jobs that cost this much or more. */
  min_cost_usd?: number
  limit?: number
  /** The last id of the page before. It may have been deleted since. */
  after?: string
  /** Include results, up to 4 MB a page; the jobs after those have `result_omitted: true`. */
  include?: 'result'
}

export type ListScheduleRunsAnswer = {
  object: 'list'
  data: ScheduleRun[]
  has_more: boolean
  first_id: string | null
  last_id: string | null
}

export type ListScheduleRunsQuery = {
  limit?: number
  /** The last id of the page before. It may have been deleted since. */
  after?: string
}

export type ListSchedulesAnswer = {
  object: 'list'
  data: Schedule[]
  has_more: boolean
  first_id: string | null
  last_id: string | null
}

export type ListSchedulesQuery = {
  limit?: number
  /** The last id of the page before. It may have been deleted since. */
  after?: string
}

/** A body of Anthropic's `POST /v1/messages`. */
export type MessageBody = {
  /** `provider/model`, or an alias of the configuration. */
  model: string
  /** The maximum number of output tokens; the Messages API requires it. */
  max_tokens: number
  messages: {
    role: string
    [member: string]: Untouched
  }[]
  /** True: chunks are published as `job.delta` events as they arrive. */
  stream?: boolean | null
  /** What `POST /v1/messages` takes from the header `anthropic-beta`. */
  anthropic_beta?: string | string[] | null
  [member: string]: Untouched
}

/** A body of `POST /moderations`. */
export type ModerationBody = {
  /** `provider/model`, or an alias of the configuration. */
  model: string
  input: string | Untouched[]
  [member: string]: Untouched
}

export type PutDurableStep = {
  /** A create object, as `POST /v1/jobs` takes it. */
  job?: CreateJob
  /** Over when so much time has passed, by the clock of Redis. */
  sleep_ms?: number
  /** Over when `POST /v1/durable/{id}/signals/{name}` has brought a value. */
  signal?: {
    /** Given up after this. Default: never. */
    timeout_ms?: number | null
  }
}

export type PutDurableStepQuery = {
  /** Hold the answer up to so many seconds until the step is over. */
  wait?: number
}

/** A body of `POST /rerank`, as at Cohere and Jina. */
export type RerankBody = {
  /** `provider/model`, or an alias of the configuration. */
  model: string
  query: string
  documents: (string | {
    [member: string]: Untouched
  })[]
  top_n?: number | null
  [member: string]: Untouched
}

/** A body of `POST /responses`. */
export type ResponseBody = {
  /** `provider/model`, or an alias of the configuration. */
  model: string
  input?: string | Untouched[] | null
  /** True: chunks are published as `job.delta` events as they arrive. */
  stream?: boolean | null
  [member: string]: Untouched
}

export type Schedule = {
  id: string
  object: 'schedule'
  name: string | null
  cron: string | null
  every: string | null
  time_zone: string
  /** As you sent it. Null if the schedule creates a flow, or if its encryption key is no longer configured. */
  job: {
    [member: string]: unknown
  } | null
  flow: {
    [member: string]: unknown
  } | null
  overlap: 'allow' | 'skip' | 'cancel_previous'
  catch_up: 'none' | 'latest' | 'all'
  starts_at: string | null
  ends_at: string | null
  max_runs: number | null
  paused: boolean
  metadata: Record<string, string>
  /** `file`: defined in the configuration, and read-only here. */
  source: 'api' | 'file'
  /** The next five slots; of a paused schedule, those that it would have if it were resumed now. */
  next_runs: string[]
  last_run: {
    /** RFC 3339, UTC, with milliseconds. */
    scheduled_for: string
    /** When it was decided. */
    started_at: string
    /** `created`: there is a job or flow. `skipped`: the previous one was still open. `missed`: no worker ran it in time. `refused`: see `error`. */
    outcome: 'created' | 'skipped' | 'missed' | 'refused'
    job_id: string | null
    flow_id: string | null
    /** Why it was refused. */
    error: {
      code: string
      message: string
    } | null
  } | null
  /** The jobs or flows that it created. */
  runs: number
  /** RFC 3339, UTC, with milliseconds. */
  created_at: string
  /** RFC 3339, UTC, with milliseconds. */
  updated_at: string
}

export type ScheduleRun = {
  id: string
  object: 'schedule.run'
  trigger: 'slot' | 'manual'
  /** RFC 3339, UTC, with milliseconds. */
  scheduled_for: string
  /** When it was decided. */
  started_at: string
  /** `created`: there is a job or flow. `skipped`: the previous one was still open. `missed`: no worker ran it in time. `refused`: see `error`. */
  outcome: 'created' | 'skipped' | 'missed' | 'refused'
  job_id: string | null
  flow_id: string | null
  /** Why it was refused. */
  error: {
    code: string
    message: string
  } | null
}

/** A body of `POST /audio/speech`. */
export type SpeechBody = {
  /** `provider/model`, or an alias of the configuration. */
  model: string
  input: string
  [member: string]: Untouched
}

/** A body of `POST /audio/transcriptions`, with the file by its id. */
export type TranscriptionBody = {
  /** `provider/model`, or an alias of the configuration. */
  model: string
  /** The audio, as the id of a file. */
  file: string
  /** True: chunks are published as `job.delta` events as they arrive. */
  stream?: boolean | null
  [member: string]: Untouched
}

/** A body of `POST /audio/translations`, with the file by its id. */
export type TranslationBody = {
  /** `provider/model`, or an alias of the configuration. */
  model: string
  /** The audio, as the id of a file. */
  file: string
  [member: string]: Untouched
}

/** As the provider counted. A detail is present if the provider reports it and it is not 0. */
export type Usage = {
  input_tokens: number
  /** Of the input: read from the prompt cache. */
  cached_input_tokens?: number
  /** Of the input: written to the prompt cache. */
  cache_write_tokens?: number
  /** Of `cache_write_tokens`: kept for an hour. */
  cache_write_1h_tokens?: number
  /** Of the input: audio. */
  audio_input_tokens?: number
  output_tokens: number
  /** Of the output: reasoning. */
  reasoning_tokens?: number
  /** Of the output: audio. */
  audio_output_tokens?: number
  total_tokens: number
  audio_seconds?: number
  /** Images that the answer holds. */
  images?: number
}
