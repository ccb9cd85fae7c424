import { BREAKER_OPEN } from '../ratelimit/breaker.ts'
import type { LaneState } from '../ratelimit/lane-state.ts'

/** How often a lane that was found shut is looked at again, ms. A short pause after a 429 is over by then, and said once. */
const LOOK_MS = 5000

/** Logs when a lane is shut and when it is open again, once each time. */
export type LaneLog = {
  /** The lane lets nothing through. */
  note(lane: string): void
  close(): void
}

export function createLaneLog(deps: {
  /** Null: the lane is not configured any more. */
  read: (lane: string) => Promise<Pick<LaneState, 'pausedUntil' | 'pausedReason' | 'breaker'> | null>
  log: Record<'info' | 'debug', (line: object, message: string) => void>
  lookMs?: number
}): LaneLog {
  const { read, log, lookMs = LOOK_MS } = deps
  /** Lanes that were found shut, and by what; null: not known yet. */
  const shut = new Map<string, string | null>()
  const timers = new Set<NodeJS.Timeout>()
  let isClosed = false

  async function look(lane: string): Promise<void> {
    const state = await read(lane)
    const known = shut.get(lane) ?? null
    const reason = state?.pausedReason ?? null
    // Half open, it is tried out: neither shut nor open.
    const isOver = reason === null && (known !== BREAKER_OPEN || state?.breaker.state !== 'half_open')
    if (isOver) {
      if (known === BREAKER_OPEN) log.info({ lane }, 'breaker closed')
      else if (known !== null) log.info({ lane }, 'lane open again')
      shut.delete(lane)
      return
    }
    if (reason !== null && reason !== known) {
      const until = new Date(state!.pausedUntil!).toISOString()
      if (reason === BREAKER_OPEN) log.info({ lane, until }, 'breaker opened')
      else log.info({ lane, reason, until }, 'lane paused')
      shut.set(lane, reason)
    }
    lookLater(lane)
  }

  function lookLater(lane: string): void {
    if (isClosed) return
    const timer = setTimeout(() => {
      timers.delete(timer)
      lookNow(lane)
    }, lookMs)
    timer.unref()
    timers.add(timer)
  }

  function lookNow(lane: string): void {
    look(lane).catch((error) => {
      log.debug({ err: error, lane }, 'looking at a lane')
      lookLater(lane)
    })
  }

  return {
    note(lane) {
      if (shut.has(lane)) return
      shut.set(lane, null)
      lookNow(lane)
    },
    close() {
      isClosed = true
      for (const timer of timers) clearTimeout(timer)
      timers.clear()
    },
  }
}
