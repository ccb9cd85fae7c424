import type { JsonValue } from '../lib/json.ts'

/** What a step does: a job, a time to pass, or a wait for a value that somebody sends. */
export type StepKind = 'job' | 'sleep' | 'signal'

/** A step that was begun. Times are Unix ms of Redis' clock. */
export type Step = {
  kind: StepKind
  beganAt: number
  /** When the sleep is over, or the wait for the signal; null: it has no end. */
  until: number | null
  /** Digest of what the job was asked to be. */
  fingerprint: string
  /** Of a job step; it may not be made yet. */
  jobId: string | null
  /** What was sent; null: nothing was. */
  signal: { sentAt: number; value: JsonValue } | null
  /** When the step was read. */
  readAt: number
}

/** What to begin. `fingerprints`: of the create object, the one to keep first. */
export type StepRequest =
  | { kind: 'job'; fingerprints: readonly string[]; jobId: string }
  | { kind: 'sleep'; ms: number }
  | { kind: 'signal'; timeoutMs: number | null }

export type Begun =
  | { kind: 'begun' | 'known'; step: Step }
  /** The name belongs to another step. */
  | { kind: 'changed' }
  /** The run has as many steps as it may. */
  | { kind: 'full' }

/** In the order in which its steps began, without the values of signals. */
export type DurableRun = {
  id: string
  createdAt: number
  steps: (Omit<Step, 'signal'> & { name: string; signal: { sentAt: number } | null })[]
}

/** A run as lists show it. Times are Unix ms. */
export type DurableRunSummary = {
  id: string
  /** Behind which the next page begins. */
  place: string
  createdAt: number
  /** When it is forgotten, if nobody asks for it until then and no job of it is open. */
  keptUntil: number
  /** How many steps began, and how many signals came. */
  steps: number
  signals: number
}

export type DurableRunPage = { runs: DurableRunSummary[]; hasMore: boolean }

/** The most steps, and the most signals, of one run. */
export const MOST_STEPS = 10_000

/**
 * Durable runs: functions of clients whose steps are kept here, so that they may be run again. A run is kept for `jobs.retain` after
 * it was last asked for, or after its last job ended, and its jobs as long as it. Every method sees one tenant's runs.
 */
export type DurableRuns = {
  /** Null where there is no such step. */
  find(tenant: string, id: string, name: string): Promise<Step | null>
  /** Idempotent: beginning a known step returns it in its current state. */
  begin(tenant: string, id: string, name: string, request: StepRequest): Promise<Begun>
  /** Resolves when the signal is there, the wait for it or the sleep is over, the time is up, or `signal` aborts. */
  wait(tenant: string, id: string, name: string, timeoutMs: number, signal: AbortSignal): Promise<Step | null>
  /**
   * Hands a value to a step, before it waits for it or while it does. `at`: when it was sent, or for `late` when the wait was over.
   *
   * @param sender tells a repeated sending from another; null: each is another
   */
  signal(
    tenant: string,
    id: string,
    name: string,
    value: JsonValue,
    sender: string | null,
  ): Promise<{ kind: 'none' | 'other' | 'full' | 'late' | 'taken' | 'sent'; at: number }>
  get(tenant: string, id: string): Promise<DurableRun | null>
  /** Newest first; `after`: the place of the last run of the page before. */
  list(tenant: string, limit: number, after: string | null): Promise<DurableRunPage>
  /** Deletes a run, but not its jobs. False: there was none. */
  remove(tenant: string, id: string): Promise<boolean>
  /** The digests of a create object by which the store may know it. The first one is the one to write. */
  digests(plain: string): string[]
}

/** Whether a sleep, or a wait for a signal, is over. */
export function isOver(step: Pick<Step, 'until' | 'readAt'> & { signal: unknown }): boolean {
  return step.signal !== null || (step.until !== null && step.readAt >= step.until)
}
