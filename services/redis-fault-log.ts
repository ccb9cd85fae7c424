import type { Logger } from 'pino'
import { isConsequence, type RedisFault } from '../lib/redis-fault.ts'

/** A fault that stands is said again after this, then after twice as long each time, ms. */
const AGAIN_MS = { first: 60_000, most: 30 * 60_000 }

/** What the log of a process says of its Redis: one for all parts of the process that meet the same fault. */
export type RedisFaultLog = {
  /** A fault stands; a line the first time, then after one minute, two, four, up to thirty. Answers the fault as it is known. */
  say(found: RedisFault): RedisFault
  /** Redis is well; a line where it was not. True: it was not. */
  end(): boolean
}

/** @param deps.address where Redis is, without user and password */
export function createRedisFaultLog(deps: {
  log: Logger
  address: string
  now: () => number
}): RedisFaultLog {
  const { log, address, now } = deps
  let fault: RedisFault | null = null
  /** When each kind of fault is said again, while Redis is not well. */
  const said = new Map<string, { at: number; pauseMs: number }>()
  return {
    say(found) {
      // From inside most faults look like a lost connection; a known fault stays.
      if (fault === null || !isConsequence(found)) fault = found
      const time = now()
      const before = said.get(fault.kind)
      if (before !== undefined && time < before.at) return fault
      const pauseMs = before === undefined ? AGAIN_MS.first : Math.min(AGAIN_MS.most, before.pauseMs * 2)
      said.set(fault.kind, { at: time + pauseMs, pauseMs })
      const what = `Redis at ${address}: ${fault.text}. This process waits, and needs no restart.`
      log.warn({ redis: address, fault: fault.kind, what }, 'Redis is not well')
      return fault
    },
    end() {
      if (fault === null) return false
      fault = null
      said.clear()
      log.info({ redis: address }, 'Redis is well again')
      return true
    },
  }
}
