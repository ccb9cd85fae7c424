import type { Tone } from '../state/lane-health.ts'
import type { JobStatus } from '../wire.ts'

/** A state as a word, with a mark that differs by shape as well as by colour. */
export function Chip({ tone, label }: { tone: Tone; label: string }) {
  return (
    <span class={`chip ${tone}`}>
      <i class="mark" aria-hidden="true" />
      {label}
    </span>
  )
}

const tones: Record<JobStatus, Tone> = {
  scheduled: 'idle',
  queued: 'idle',
  running: 'info',
  completed: 'good',
  failed: 'bad',
  cancelled: 'warn',
}

export function StatusChip({ status }: { status: JobStatus }) {
  return <Chip tone={tones[status] ?? 'idle'} label={status} />
}
