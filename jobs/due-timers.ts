import { OUTBOX_GRACE_MS } from './leases.ts'
import type { Outbox } from './outbox.ts'

/** This process queues a due job if the maintainer has not done so after this long, ms. */
const LATE_MS = 300

/** Times further ahead than this are not remembered, ms, because the maintainer is unlikely to be gone just then. */
const HORIZON_MS = 10 * 60_000

/** Times within this span share one timer, ms. */
const STEP_MS = 100

/**
 * Timers of a process for the jobs that it scheduled. The maintainer queues due jobs. If it dies just before, another
 * worker takes over within seconds, and the timers cover that gap. Looking twice changes nothing.
 */
export type DueTimers = {
  /** A job of the tenant is due at this time, Unix ms. */
  note(tenant: string, at: number): void
  close(): void
}

/** @param deps.now Unix ms, by Redis' clock */
export function createDueTimers(deps: {
  outbox: Pick<Outbox, 'sweep'>
  now: () => number
  onError: (error: unknown, what: string) => void
}): DueTimers {
  const { outbox, now, onError } = deps
  const timers = new Map<string, { times: Set<number>; at: number; timer: NodeJS.Timeout }>()

  function start(tenant: string, times: Set<number>): void {
    const at = Math.min(...times)
    const timer = setTimeout(() => look(tenant), Math.max(0, at - now()) + LATE_MS)
    timer.unref()
    timers.set(tenant, { times, at, timer })
  }

  function look(tenant: string): void {
    const { times } = timers.get(tenant)!
    timers.delete(tenant)
    const time = now()
    for (const at of times) if (at <= time) times.delete(at)
    if (times.size > 0) start(tenant, times)
    outbox.sweep(tenant, OUTBOX_GRACE_MS).catch((error) => onError(error, 'queueing scheduled jobs'))
  }

  return {
    note(tenant, at) {
      if (at > now() + HORIZON_MS) return
      const step = Math.ceil(at / STEP_MS) * STEP_MS
      const known = timers.get(tenant)
      if (known === undefined) return start(tenant, new Set([step]))
      known.times.add(step)
      if (step >= known.at) return
      clearTimeout(known.timer)
      start(tenant, known.times)
    },
    close() {
      for (const { timer } of timers.values()) clearTimeout(timer)
      timers.clear()
    },
  }
}
