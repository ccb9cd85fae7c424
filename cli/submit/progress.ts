import { Presets, SingleBar } from 'cli-progress'
import { formatDuration } from '../format.ts'

/** How far a run came; `total`, `written` and `failed` count lines, earlier runs included. */
export type Progress = {
  total: number
  written: number
  failed: number
  /** Lines whose jobs are at the server, or that were refused. */
  submitted: number
  /** Ended jobs of the input by the server's count, which is ahead of `written` where one job holds up the order. */
  ended: number
  /** When the last job of the file is thought to end, RFC 3339. */
  estimated_finish_at: string | null
  /** Why the work is paused at the moment. */
  trouble: string | null
}

/**
 * When the whole file is done, by when the server thinks that what was handed in is: what is not handed in yet takes as long
 * for each job.
 *
 * @param now Unix ms
 */
export function estimateFinish(
  { total, submitted, ended }: Pick<Progress, 'total' | 'submitted' | 'ended'>,
  handedInEndsAt: string | null,
  now: number,
): string | null {
  const left = handedInEndsAt === null ? 0 : Date.parse(handedInEndsAt) - now
  const open = submitted - ended
  if (left <= 0 || open <= 0 || submitted >= total) return handedInEndsAt
  return new Date(Math.round(now + (left * (total - ended)) / open)).toISOString()
}

export type ProgressView = { show(progress: Progress): void; end(progress: Progress): void }

/** Nothing at all: for output that nobody looks at. */
export const noProgress: ProgressView = { show: () => {}, end: () => {} }

/** A bar, drawn over itself, on a terminal. */
export function createBar(stream: NodeJS.WriteStream, now: () => number): ProgressView {
  const bar = new SingleBar(
    {
      stream,
      format: '{bar} {percentage}% | {value} of {total} | {failed} failed{left}{trouble}',
      hideCursor: true,
      gracefulExit: false,
      fps: 5,
      barsize: 30,
    },
    Presets.shades_classic,
  )
  let isStarted = false
  const draw = (progress: Progress) => {
    const left =
      progress.estimated_finish_at === null ? null : Date.parse(progress.estimated_finish_at) - now()
    const payload = {
      failed: progress.failed,
      left: left === null || left < 0 ? '' : ` | ${formatDuration(left / 1000)} left`,
      trouble: progress.trouble === null ? '' : ` | waiting: ${progress.trouble}`,
    }
    const value = Math.min(progress.total, Math.max(progress.written, progress.ended))
    if (isStarted) bar.update(value, payload)
    else bar.start(progress.total, value, payload)
    isStarted = true
  }
  return {
    show: draw,
    end(progress) {
      draw(progress)
      bar.stop()
    },
  }
}

/** A line of JSON each time, for scripts. */
export function createProgressLines(write: (text: string) => void): ProgressView {
  const line = (event: string, progress: Progress) => write(`${JSON.stringify({ event, ...progress })}\n`)
  return { show: (progress) => line('progress', progress), end: (progress) => line('end', progress) }
}
