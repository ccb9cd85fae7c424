/**
 * Periodic work for the whole installation. One worker at a time does it: the elected maintainer (`workers/maintainer.ts`). Add tasks in
 * `services/maintenance.ts`.
 *
 * Two workers may run the same task for a moment (one was suspended and does not know yet that another took over), and a worker may die in
 * the middle of a run. So every step of a task is idempotent, and Redis decides it, in a script.
 */
export type PeriodicTask = {
  /** A short label in metrics and in the log, kebab-case: `retention`. Unique. */
  name: string
  /** From the start of a run to the start of the next one, ms. A run that takes longer delays the next, so there are never two at once. */
  everyMs: number
  /**
   * Does all due work in small blocks until nothing is left. If it throws, the error is logged and the next run tries again.
   *
   * @param signal aborts when this worker stops, or is no longer the maintainer: check it between blocks, and return
   */
  run(signal: AbortSignal): Promise<unknown>
}
