import type { Attempt, Job } from './wire.ts'

/** A span of a job's life. Times are Unix ms; `start` and `length` are shares of the whole timeline. */
export type Stretch = { from: number; to: number; start: number; length: number }
export type TimelineRow = { attempt: Attempt; waited: Stretch; called: Stretch }
export type Timeline = {
  from: number
  to: number
  rows: TimelineRow[]
  /** The time since the last call of a job that waits for its next one. */
  waiting: Stretch | null
}

/** Places each wait and each call of a job between its creation and its end, or now if it is open. */
export function buildTimeline(job: Job, attempts: Attempt[], now: number): Timeline {
  const from = Date.parse(job.created_at)
  const ends = attempts.map((attempt) => endOf(attempt, now))
  const finished = job.finished_at === null ? now : Date.parse(job.finished_at)
  const to = Math.max(from + 1, finished, ...ends)
  const place = (start: number, end: number): Stretch => {
    const [left, right] = [clamp(start, from, to), clamp(end, from, to)]
    return {
      from: left,
      to: Math.max(left, right),
      start: (left - from) / (to - from),
      length: Math.max(0, right - left) / (to - from),
    }
  }
  let last = from
  const rows = attempts.map((attempt, index) => {
    const started = Date.parse(attempt.started_at)
    const row = { attempt, waited: place(last, started), called: place(started, ends[index]!) }
    last = Math.max(last, ends[index]!)
    return row
  })
  const isWaiting = job.status === 'queued' || job.status === 'scheduled'
  return { from, to, rows, waiting: isWaiting ? place(last, to) : null }
}

function endOf(attempt: Attempt, now: number): number {
  const started = Date.parse(attempt.started_at)
  if (attempt.latency_ms !== null) return started + attempt.latency_ms
  return attempt.outcome === 'running' ? Math.max(started, now) : started
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value))
}
