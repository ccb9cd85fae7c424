import type { Attempt } from '../../jobs/job.ts'

/** Something a provider does wrong, and how it has to be classified. */
export type Ill = {
  /** The simulator's name for it with its settings; docs/simulator.md. */
  mark: string
  /** How the first attempt has to end. */
  outcome: Attempt['outcome']
  /** Whether the provider may have worked, and billed, for all we know. */
  ambiguous: boolean
  /** Happens only in streams, or only in answers in one piece. */
  only?: 'stream' | 'whole'
}

/** Of every attempt that may meet such a fault. */
export const TIMEOUT_MS = 2500

/** Faults that pass: the job completes in the end. */
export const ILLS: readonly Ill[] = [
  { mark: '500:times=2', outcome: 'retryable', ambiguous: false },
  { mark: '503:times=1:retry_after=800', outcome: 'retryable', ambiguous: false },
  { mark: '429:times=1:retry_after=800', outcome: 'throttled', ambiguous: false },
  { mark: 'hang:times=1', outcome: 'timeout', ambiguous: true },
  { mark: 'slow:times=1:ms=4000', outcome: 'timeout', ambiguous: true },
  { mark: 'drip:times=1:ms=1500', outcome: 'timeout', ambiguous: true },
  { mark: 'drip:times=1:ms=5', outcome: 'completed', ambiguous: false },
  { mark: 'reset_before:times=1', outcome: 'retryable', ambiguous: true },
  { mark: 'reset_after:times=1', outcome: 'retryable', ambiguous: true },
  { mark: 'truncated_stream:times=1', outcome: 'retryable', ambiguous: true },
  { mark: 'garbage:times=1', outcome: 'retryable', ambiguous: true },
  { mark: 'wrong_shape:times=1', outcome: 'retryable', ambiguous: true },
  { mark: 'error_in_200:times=1', outcome: 'retryable', ambiguous: false, only: 'whole' },
  { mark: 'error_in_stream:times=1', outcome: 'retryable', ambiguous: true, only: 'stream' },
]

/** Answers larger than a worker reads: the job fails, because the next answer would be as long. */
export const FLOODS: readonly Ill[] = [
  { mark: 'huge:times=1', outcome: 'failed', ambiguous: true },
  { mark: 'endless:times=1', outcome: 'failed', ambiguous: true },
]

export function markerOf({ mark }: Ill): string {
  return `[[fault:${mark}]]`
}

/**
 * Chooses the marks of jobs: the same share of them has a fault, and each fault is as frequent as the others. They
 * are few enough that so many broken calls in a row are rare that the lane's breaker opens.
 */
export function createMarker(random: () => number, share: number): (streams: boolean) => string {
  const chosen = new Map(ILLS.map((ill) => [ill, 0]))
  return (streams) => {
    if (random() >= share) return ''
    const fitting = ILLS.filter(({ only }) => only === undefined || (only === 'stream') === streams)
    const rarest = Math.min(...fitting.map((ill) => chosen.get(ill)!))
    const candidates = fitting.filter((ill) => chosen.get(ill) === rarest)
    const ill = candidates[Math.floor(random() * candidates.length)]!
    chosen.set(ill, rarest + 1)
    return markerOf(ill)
  }
}
