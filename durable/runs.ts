import type { JsonValue } from '../lib/json.ts'

/** What a step does: it runs a job, sleeps, or waits for a value that a client sends. */
export type StepKind = 'job' | 'sleep' | 'signal'

/** A step that has begun. Times are Unix ms of Redis' clock. */
export type Step = {
  kind: StepKind
  beganAt: number
  /** When the sleep or the wait for the signal ends; null: it has no end. */
  until: number | null
  /** The digest of the job's create object; for other steps their duration. */
  fingerprint: string
  /** The id of a job step's job, which may not exist yet; null for other steps. */
  jobId: string | null
  /** The signal; null: none was sent. */
  signal: { sentAt: number; value: JsonValue } | null
  /** When the step was read. */
  readAt: number
}

/** The step to begin. `fingerprints`: of the create object; the first one is stored. */
export type StepRequest =
  | { kind: 'job'; fingerprints: readonly string[]; jobId: string }
  | { kind: 'sleep'; ms: number }
  | { kind: 'signal'; timeoutMs: number | null }

/** The outcome of `begin`. `begun`: the step began now. `known`: it had begun before. */
export type Begun =
  | { kind: 'begun' | 'known'; step: Step }
  /** The name belongs to a different step. */
  | { kind: 'changed' }
  /** The run has as many steps as allowed. */
  | { kind: 'full' }

/** A run with its steps in the order in which they began, without the values of signals. */
export type DurableRun = {
  id: string
  createdAt: number
  steps: (Omit<Step, 'signal'> & { name: string; signal: { sentAt: number } | null })[]
}

/** A run as lists show it. Times are Unix ms. */
export type DurableRunSummary = {
  id: string
  /** The cursor after which the next page begins. */
  place: string
  createdAt: number
  /** When the run is deleted, unless one of its steps is begun, read or signalled before, or a job of it is open. */
  keptUntil: number
  /** The numbers of steps that began and of signals that came. */
  steps: number
  signals: number
}

/** A page of runs, newest first. */
export type DurableRunPage = { runs: DurableRunSummary[]; hasMore: boolean }

/** The most steps, and the most signals, of one run. */
export const MOST_STEPS = 10_000

/**
 * Durable runs: functions of clients whose steps are stored here, so that a function can run again from its last step. A run is kept
 * for `jobs.retain` after a step of it was last begun, read or signalled, or after its last job ended. Its jobs are kept as long as the
 * run. Every method sees only one tenant's runs.
 */
export type DurableRuns = {
  /** Returns a step; null: there is no such step. */
  find(tenant: string, id: string, name: string): Promise<Step | null>
  /** Idempotent: beginning a known step returns it in its current state. */
  begin(tenant: string, id: string, name: string, request: StepRequest): Promise<Begun>
  /** A request that began a step does not create its job. After the last such request, the next one decides what the step does. */
  release(tenant: string, id: string, name: string): Promise<void>
  /** Resolves when the step's signal comes, its wait or sleep is over, `timeoutMs` is over, or `signal` aborts. */
  wait(tenant: string, id: string, name: string, timeoutMs: number, signal: AbortSignal): Promise<Step | null>
  /**
   * Sends a value to a step, before or while the step waits for it. `at`: when the signal was sent; for `late`, when the wait ended.
   *
   * @param sender identifies a repeated sending of one signal; null: every sending is a new signal
   */
  signal(
    tenant: string,
    id: string,
    name: string,
    value: JsonValue,
    sender: string | null,
  ): Promise<{ kind: 'none' | 'other' | 'full' | 'late' | 'taken' | 'sent'; at: number }>
  get(tenant: string, id: string): Promise<DurableRun | null>
  /** Lists runs, newest first. `after`: the place of the previous page's last run. */
  list(tenant: string, limit: number, after: string | null): Promise<DurableRunPage>
  /** Deletes a run, but not its jobs. False: there was no such run. */
  remove(tenant: string, id: string): Promise<boolean>
  /** The digests under which the store may know a create object. The first one is stored. */
  digests(plain: string): string[]
}

/** Whether a sleep, or a wait for a signal, is over. */
export function isOver(step: Pick<Step, 'until' | 'readAt'> & { signal: unknown }): boolean {
  return step.signal !== null || (step.until !== null && step.readAt >= step.until)
}
