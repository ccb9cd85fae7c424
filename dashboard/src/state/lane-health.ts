import { countOf, describePause, describeWait, formatCount, formatShare } from '../format.ts'
import type { BrokenCall, Lane } from '../wire.ts'

export type Tone = 'good' | 'info' | 'warn' | 'bad' | 'idle'

/** The health of a lane: a label of one or two words, and a sentence. */
export type LaneHealth = { tone: Tone; label: string; detail: string }

/** A pause that ends later than this has no end: it lasts until you resume the lane. The server writes ten years for it. */
const ENDLESS_MS = 5 * 365 * 86_400_000

/** The reason that the breaker gives for its pause. */
const BREAKER_PAUSE = 'breaker_open'

/** When the pause ends, Unix ms; Infinity: when somebody resumes the lane; null: the lane is not paused. */
export function readPauseEnd(lane: Lane, now: number): number | null {
  if (lane.paused_until === null) return null
  const end = Date.parse(lane.paused_until)
  return end - now > ENDLESS_MS ? Number.POSITIVE_INFINITY : end
}

/** True for a pause that is not the breaker's. The breaker's pause ends by itself as soon as a call succeeds. */
export function hasLastingPause(lane: Lane): boolean {
  return lane.paused_until !== null && lane.paused_reason !== BREAKER_PAUSE
}

/** Checks the worst case first: trouble, then what the lane waits for, then that it works, then that it is idle. */
export function judgeLane(lane: Lane): LaneHealth {
  const [last] = lane.breaker.last_broken
  const lastError = last === undefined ? '' : `last error ${describeBroken(last)}; `
  if (lane.breaker.state === 'open') {
    return {
      tone: 'bad',
      label: 'provider down',
      detail: `${countOf(lane.breaker.failures, 'broken call')} in a row; ${lastError}nothing leaves until its breaker lets a probe through`,
    }
  }
  if (lane.paused_until !== null) {
    return { tone: 'warn', label: 'paused', detail: describePause(lane.paused_reason) }
  }
  if (lane.breaker.state === 'half_open') {
    return {
      tone: 'warn',
      label: 'probing',
      detail: `${lastError}one call at a time tries whether the provider is back`,
    }
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

/** Says in a sentence what the gate decides about the lane's next call, and why. */
export function decideInWords(lane: Lane): string {
  const { waiting, delayed } = lane.backlog
  const held = lane.held_back_by
  const whose = held === null || held.kind === 'lane' ? 'of this lane' : `shared as ${held.name}`
  const queue = waiting === 1 ? '1 job waits' : `${formatCount(waiting)} jobs wait`
  if (lane.breaker.state === 'open')
    return `No call leaves: the breaker is open until a probe succeeds. ${queue}${delayed > 0 ? `, and ${formatCount(delayed)} for later` : ''}.`
  if (lane.paused_until !== null) return `No call leaves: the lane is paused. ${queue}.`
  if (lane.breaker.state === 'half_open')
    return `One call at a time leaves, to check whether the provider is back. ${queue}.`
  if (waiting > 0 && lane.waiting_for !== null)
    return `The next call waits for ${describeWait(lane.waiting_for)} ${whose}; until then ${queue.replace('jobs wait', 'jobs wait in turn')}.`
  if (lane.speed < 1)
    return `Calls leave at ${formatShare(lane.speed)} of the lane’s rate, which recovers from a 429.`
  return waiting > 0
    ? `The next call may leave now; ${queue} for a worker.`
    : 'The next call may leave at once: nothing waits.'
}

/** The most characters shown of a provider's message; the page of the lane has the rest. */
const LONGEST_MESSAGE = 120

/** For example `503 overloaded: the server is overloaded`, with a long message cut. */
export function describeBroken({ status, code, message }: BrokenCall): string {
  const name = [status, code].filter((part) => part !== null).join(' ')
  if (message === null || message === '') return name
  const text = message.length > LONGEST_MESSAGE ? `${message.slice(0, LONGEST_MESSAGE)}…` : message
  return `${name}: ${text}`
}
