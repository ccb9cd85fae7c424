import { Presets, SingleBar } from 'cli-progress'
import { formatDuration } from '../format.ts'

/** The progress of a run. `total`, `written` and `failed` count lines, including those of earlier runs. */
export type Progress = {
  total: number
  written: number
  failed: number
  /** Lines whose jobs are at the server, or that were refused. */
  submitted: number
  /** Ended jobs of the input by the server's count, which is ahead of `written` if one job delays the order. */
  ended: number
  /** Estimated end of the last job of the file, RFC 3339. */
  estimated_finish_at: string | null
  /** Why the work is paused at the moment. */
  trouble: string | null
}

/**
 * Estimates the end of the whole file from the server's estimate for the submitted jobs: each remaining job takes the same time.
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

/** Shows nothing, if the output is not a terminal. */
export const noProgress: ProgressView = { show: () => {}, end: () => {} }

/** A progress bar on a terminal. */
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

/** A line of JSON per update, for scripts. */
export function createProgressLines(write: (text: string) => void): ProgressView {
  const line = (event: string, progress: Progress) => write(`${JSON.stringify({ event, ...progress })}\n`)
  return { show: (progress) => line('progress', progress), end: (progress) => line('end', progress) }
}
