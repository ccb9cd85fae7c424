/**
 * Work that has to be done again and again for the whole installation, by one worker at a time: the elected maintainer
 * (`workers/maintainer.ts`). Add yours in `services/maintenance.ts`.
 *
 * Two workers may run the same task at once for a moment (one was frozen and does not know yet that another took over), and one may die
 * in the middle of a run. So every step of a task is idempotent, and Redis decides it, in a script.
 */
export type PeriodicTask = {
  /** A short label in metrics and in the log, kebab-case: `retention`. No two tasks have the same. */
  name: string
  /** From the start of a run to the start of the next, ms. A run that takes longer delays the next: there are never two at once. */
  everyMs: number
  /**
   * Does all that is due now, in small blocks, until nothing is left; what it throws is logged, and the next run tries again.
   *
   * @param signal aborts when this worker is not the maintainer any more, or stops: look at it between blocks, and return
   */
  run(signal: AbortSignal): Promise<unknown>
}
