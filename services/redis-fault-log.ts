import type { Logger } from 'pino'
import { isConsequence, type RedisFault } from '../lib/redis-fault.ts'

/** A continuing fault is logged again after `first`, then after twice as long each time up to `most`, ms. */
const AGAIN_MS = { first: 60_000, most: 30 * 60_000 }

/** Logs faults of Redis. One for all parts of the process, which meet the same fault. */
export type RedisFaultLog = {
  /** Reports a fault. It is logged the first time, then after 1, 2, 4 and up to 30 minutes. Returns the fault as it is known. */
  say(found: RedisFault): RedisFault
  /** Reports that Redis works; logged if it did not before. True: it did not. */
  end(): boolean
}

/** @param deps.address the address of Redis, without user and password */
export function createRedisFaultLog(deps: {
  log: Logger
  address: string
  now: () => number
}): RedisFaultLog {
  const { log, address, now } = deps
  let fault: RedisFault | null = null
  /** When each kind of fault is logged again, while Redis does not work. */
  const said = new Map<string, { at: number; pauseMs: number }>()
  return {
    say(found) {
      // Most faults look like a lost connection from inside; a known fault stays.
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
