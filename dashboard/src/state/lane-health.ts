import { describePause, describeWait, formatShare } from '../format.ts'
import type { Lane } from '../wire.ts'

export type Tone = 'good' | 'info' | 'warn' | 'bad' | 'idle'

/** How a lane does, in one or two words and a sentence. */
export type LaneHealth = { tone: Tone; label: string; detail: string }

/** Pauses that end so far away have no end: they wait for somebody to resume. The server writes ten years for them. */
const ENDLESS_MS = 5 * 365 * 86_400_000

/** When the pause ends, Unix ms; Infinity: when it is ended by hand; null: there is none. */
export function readPauseEnd(lane: Lane, now: number): number | null {
  if (lane.paused_until === null) return null
  const end = Date.parse(lane.paused_until)
  return end - now > ENDLESS_MS ? Number.POSITIVE_INFINITY : end
}

/** The worst first: what the lane suffers from, what it waits for, that it flows, that it rests. */
export function judgeLane(lane: Lane): LaneHealth {
  if (lane.breaker.state === 'open') {
    return {
      tone: 'bad',
      label: 'provider down',
      detail: `${lane.breaker.failures} broken calls in a row; nothing leaves until its breaker lets a probe through`,
    }
  }
  if (lane.paused_until !== null) {
    return { tone: 'warn', label: 'paused', detail: describePause(lane.paused_reason) }
  }
  if (lane.breaker.state === 'half_open') {
    return { tone: 'warn', label: 'probing', detail: 'one call at a time tries whether the provider is back' }
  }
  if (lane.speed < 1) {
    return {
      tone: 'warn',
      label: 'slowed',
      detail: `at ${formatShare(lane.speed)} of its rate, recovering from a 429`,
    }
  }
  const isWaiting = lane.backlog.waiting > 0
  if (isWaiting && lane.waiting_for !== null) {
    return { tone: 'info', label: 'at its limit', detail: `waits for ${describeWait(lane.waiting_for)}` }
  }
  if (lane.in_flight > 0 || isWaiting)
    return { tone: 'good', label: 'flowing', detail: 'nothing holds it back' }
  return { tone: 'idle', label: 'idle', detail: 'nothing to do' }
}
