import type { KeyTerms } from '../config/key-terms.ts'
import type { JsonObject } from '../lib/json.ts'
import type { RunError, Target } from './schedule.ts'

/** For what a job or flow is to be made: a slot, or a run beside them. */
export type LaunchOrder = {
  tenant: string
  schedule: string
  /** Unix ms. */
  scheduledFor: number
  /** The same key makes the same job or flow. */
  idempotencyKey: string
  /** Of the key that gave the create object. */
  terms: KeyTerms
}

export type Launched =
  | { kind: 'created'; id: string }
  /** `retryAfterMs`: asking again later may help; null: it will not. */
  | { kind: 'refused'; error: RunError; retryAfterMs: number | null }

/** Makes what a schedule is for, by its create object, and looks after it; `api/` has it for jobs and for flows. */
export type Launcher = {
  launch(create: JsonObject, order: LaunchOrder): Promise<Launched>
  /** Whether it has not ended. */
  isOpen(tenant: string, id: string): Promise<boolean>
  /** Does nothing where it has ended. */
  cancel(tenant: string, id: string): Promise<void>
}

export type Launchers = Record<Target, Launcher>
