import type { KeyTerms } from '../config/key-terms.ts'
import type { JsonObject } from '../lib/json.ts'
import type { RunError, Target } from './schedule.ts'

/** The reason for a job or flow: a slot, or a manual run. */
export type LaunchOrder = {
  tenant: string
  schedule: string
  /** Unix ms. */
  scheduledFor: number
  /** Two launches with the same key create one job or flow. */
  idempotencyKey: string
  /** The terms of the API key that set the create object. */
  terms: KeyTerms
}

/** The outcome of a launch. `created`: also if an earlier launch with the same key created it. */
export type Launched =
  | { kind: 'created'; id: string }
  /** `retryAfterMs`: when another try may succeed, ms from now; null: none will. */
  | { kind: 'refused'; error: RunError; retryAfterMs: number | null }

/** Creates a schedule's jobs or flows from its create object, and checks and cancels them. `api/` implements it for both. */
export type Launcher = {
  launch(create: JsonObject, order: LaunchOrder): Promise<Launched>
  /** Whether the job or flow is still open. */
  isOpen(tenant: string, id: string): Promise<boolean>
  /** Cancels the job or flow. Does nothing if it has ended. */
  cancel(tenant: string, id: string): Promise<void>
}

export type Launchers = Record<Target, Launcher>
