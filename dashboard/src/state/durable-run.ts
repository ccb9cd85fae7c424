import type { Tone } from './lane-health.ts'

/** A durable run in a list. Times are RFC 3339 UTC. */
export type DurableRunSummary = {
  id: string
  created_at: string
  /** When it is deleted, if no request for a step and no signal comes before, and its last job has ended by then. */
  expires_at: string
  step_count: number
  signal_count: number
}

export type StepStatus = 'waiting' | 'completed' | 'failed' | 'cancelled' | 'timed_out'
export const stepStatuses: readonly StepStatus[] = [
  'waiting',
  'completed',
  'failed',
  'cancelled',
  'timed_out',
]

export type DurableStep = {
  name: string
  kind: 'job' | 'sleep' | 'signal'
  status: StepStatus
  created_at: string
  /** When a sleep is over, or the wait for a signal is given up. */
  wake_at: string | null
  sent_at: string | null
  job_id: string | null
}

/** A durable run. Its steps are in the order in which they began. */
export type DurableRun = { id: string; created_at: string; steps: DurableStep[] }

export const stepTones: Record<StepStatus, Tone> = {
  waiting: 'info',
  completed: 'good',
  failed: 'bad',
  cancelled: 'warn',
  timed_out: 'warn',
}

/**
 * Describes what a run waits for. The server stores the steps of a function. It does not know whether the function has
 * returned.
 */
export function describeRun({ steps }: DurableRun): { tone: Tone; label: string } {
  const open = steps.filter(({ status }) => status === 'waiting')
  const count = (kind: DurableStep['kind']) => open.filter((step) => step.kind === kind).length
  const [jobs, signals] = [count('job'), count('signal')]
  if (jobs > 0) return { tone: 'info', label: jobs === 1 ? 'waits for a job' : `waits for ${jobs} jobs` }
  if (signals > 0) {
    return { tone: 'warn', label: signals === 1 ? 'waits for a signal' : `waits for ${signals} signals` }
  }
  if (open.length > 0) return { tone: 'info', label: 'sleeps' }
  return { tone: 'idle', label: 'no step is open' }
}

/** Counts the steps by state: `3 completed, 1 failed`. */
export function countSteps(steps: readonly DurableStep[]): string {
  return stepStatuses
    .map((status) => [steps.filter((step) => step.status === status).length, status] as const)
    .filter(([count]) => count > 0)
    .map(([count, status]) => `${count} ${status.replaceAll('_', ' ')}`)
    .join(', ')
}
