import type { MaintainerLease, MaintainerView } from '../jobs/maintainer-lease.ts'
import type { PeriodicTask } from '../lib/periodic-task.ts'
import { type Repeating, repeat } from '../lib/repeat.ts'

/** How long the lease lasts, and how often the holder renews it and the others look at it, ms. */
export const MAINTAINER_LEASE_MS = 4000
const LOOK_MS = 1000

/** The holder stops this long before its lease ends, ms, because from then on it cannot be sure to hold it. */
const MARGIN_MS = 500

export type MaintainerDeps = {
  lease: MaintainerLease
  /** How long the lease lasts, ms. */
  leaseMs?: number
  /** Time between two looks at the lease, ms. */
  lookMs?: number
  /** This worker became the maintainer, or stopped being it. */
  onChange: (isElected: boolean) => void
  /** Another worker is the maintainer now; called once for each. */
  onOther?: (holder: MaintainerView) => void
  /** A run of a task ended. `durationMs`: how long it took. */
  onRun?: (task: string, durationMs: number, error?: unknown) => void
  onError: (error: unknown, what: string) => void
}

export type Maintainer = {
  /** Adds a task, which the elected worker runs from now on. Every worker adds the same tasks. */
  add(task: PeriodicTask): void
  /** Whether this worker is the maintainer. */
  isElected(): boolean
  /** Ends the current runs after their current blocks, and lets another worker take over at once. */
  stop(): Promise<void>
}

/** What a worker runs while it is the maintainer. */
type Term = { abort: AbortController; turns: Repeating[] }

/**
 * Elects the one worker that works for all tenants. The holder of a lease renews it and runs the tasks; the other
 * workers stand by. If the holder stops, another one takes over within a second. If it died or froze, another one takes
 * over as soon as the lease ends.
 */
export function startMaintainer(deps: MaintainerDeps): Maintainer {
  const { lease, onError, leaseMs = MAINTAINER_LEASE_MS, lookMs = LOOK_MS } = deps
  const tasks: PeriodicTask[] = []
  /** Runs under way, by task, so that a new term does not start a second run of the same task. */
  const running = new Map<string, Promise<unknown>>()
  let term: Term | null = null
  let end: NodeJS.Timeout | undefined
  let other: string | null = null

  async function runTask(task: PeriodicTask, signal: AbortSignal): Promise<void> {
    await running.get(task.name)
    if (signal.aborted) return
    const startedAt = performance.now()
    const run = task.run(signal)
    const settled = run
      .then(
        () => deps.onRun?.(task.name, performance.now() - startedAt),
        (error) => {
          deps.onRun?.(task.name, performance.now() - startedAt, error)
          onError(error, `the maintenance task ${task.name}`)
        },
      )
      .finally(() => running.delete(task.name))
    running.set(task.name, settled)
    await settled
  }

  function startTask(task: PeriodicTask, { abort, turns }: Term): void {
    turns.push(
      repeat(
        task.everyMs,
        () => runTask(task, abort.signal),
        (error) => onError(error, task.name),
      ),
    )
  }

  function begin(): void {
    term = { abort: new AbortController(), turns: [] }
    deps.onChange(true)
    for (const task of tasks) startTask(task, term)
  }

  function resign(): void {
    clearTimeout(end)
    if (term === null) return
    term.abort.abort()
    for (const turn of term.turns) turn.stop()
    term = null
    deps.onChange(false)
  }

  async function look(): Promise<void> {
    const askedAt = performance.now()
    const { isOurs, holder } = await lease.hold()
    const leftMs = leaseMs - MARGIN_MS - (performance.now() - askedAt)
    if (!isOurs || leftMs <= 0) {
      if (!isOurs && holder !== null && holder.worker !== other) deps.onOther?.(holder)
      other = holder?.worker ?? null
      resign()
      return
    }
    other = null
    clearTimeout(end)
    end = setTimeout(resign, leftMs)
    if (term === null) begin()
  }

  const looks = repeat(lookMs, look, (error) => onError(error, 'the lease of the maintainer'))

  return {
    add(task) {
      tasks.push(task)
      if (term !== null) startTask(task, term)
    },
    isElected: () => term !== null,
    async stop() {
      await looks.stop()
      const wasElected = term !== null
      resign()
      await Promise.all(running.values())
      if (wasElected) await lease.release().catch((error) => onError(error, 'the lease of the maintainer'))
    },
  }
}
