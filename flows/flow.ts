import type { Budget } from '../config/budget-windows.ts'
import type { KeyTerms } from '../config/key-terms.ts'
import type { JsonObject, JsonValue } from '../lib/json.ts'

/** The states of a flow. */
export const FlowStatus = {
  running: 'running',
  waiting: 'waiting',
  completed: 'completed',
  failed: 'failed',
  cancelled: 'cancelled',
} as const
export type FlowStatus = (typeof FlowStatus)[keyof typeof FlowStatus]

/** The states of a step, as clients see them. */
export const StepStatus = {
  blocked: 'blocked',
  waiting: 'waiting',
  queued: 'queued',
  running: 'running',
  completed: 'completed',
  failed: 'failed',
  skipped: 'skipped',
  cancelled: 'cancelled',
} as const
export type StepStatus = (typeof StepStatus)[keyof typeof StepStatus]

/** True for the states that a flow leaves only by a retry. */
export function isOver(status: FlowStatus): status is 'completed' | 'failed' | 'cancelled' {
  return status === 'completed' || status === 'failed' || status === 'cancelled'
}

export const flowWebhookEvents = ['flow.completed', 'flow.failed', 'flow.cancelled'] as const
export type FlowWebhookEvent = (typeof flowWebhookEvents)[number]

export type FlowEventType =
  | 'flow.started'
  | 'step.started'
  | 'step.waiting'
  | 'step.completed'
  | 'step.failed'
  | 'step.skipped'
  | FlowWebhookEvent

/** What happens when a step fails. */
export type OnStepFailure = 'fail' | 'skip' | { value: JsonValue }

/** One step as the client sent it. Strings in `job`, `for_each`, `when` and a fallback value may contain expressions. */
export type StepDefinition = {
  job?: JsonObject | null | undefined
  for_each?: JsonValue | undefined
  max_in_flight?: number | null | undefined
  allow_failures?: number | null | undefined
  /** `timeout`: a duration such as `24h`. */
  wait_for_signal?: { timeout?: string | null | undefined } | null | undefined
  needs?: string[] | null | undefined
  needs_any?: boolean | null | undefined
  when?: JsonValue | undefined
  on_failure?: OnStepFailure | null | undefined
}

/** A flow as the client sent it, validated. It is stored with its original text. */
export type FlowDefinition = {
  name: string
  input?: JsonValue | undefined
  steps: Record<string, StepDefinition>
  output?: JsonValue | undefined
  on_failure?: 'stop' | 'continue' | null | undefined
}

/** A flow to create. */
export type NewFlow = KeyTerms & {
  tenant: string
  definition: FlowDefinition
  /** The budget over the flow's whole life. */
  budgetUsd: number | null
  /** Budgets by time window. */
  budgets: readonly Budget[]
  /** Unix ms. */
  deadline: number | null
  webhook: { url: string; events: FlowWebhookEvent[] } | null
  group: string | null
  metadata: Record<string, string>
  idempotencyKey: string | null
  /** How long the key is remembered, ms. Default: a day. */
  idempotencyTtlMs?: number
  /** The digest of the original request, to tell a repeated request from a different one with the same key. */
  fingerprint: string
  /** The most open flows of the tenant. */
  mostOpen: number
  requestId?: string
  /** The W3C `traceparent` of the request; the flow's jobs belong to that trace. */
  trace?: string
}

/** Why a step or a flow failed. */
export type FlowError = {
  code: string
  message: string
  provider_status: number | null
  retryable: boolean
}

/** Creates an error that did not come from a provider. */
export function toFlowError(code: string, message: string, retryable = false): FlowError {
  return { code, message, provider_status: null, retryable }
}

/** The tokens of a flow's jobs, summed. */
export type FlowUsage = { input_tokens: number; output_tokens: number; total_tokens: number }

export const noUsage: FlowUsage = { input_tokens: 0, output_tokens: 0, total_tokens: 0 }
