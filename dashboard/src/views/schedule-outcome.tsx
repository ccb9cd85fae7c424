import { Chip } from '../components/chip.tsx'
import { Time } from '../components/time.tsx'
import type { Tone } from '../state/lane-health.ts'
import { linkToJob } from '../state/route.ts'
import type { RunOutcome } from '../wire.ts'

const tones: Record<RunOutcome, Tone> = { created: 'good', skipped: 'idle', missed: 'warn', refused: 'bad' }

/** The outcome of a run, and its time. */
export function Outcome(props: { outcome: RunOutcome; job: string | null; at: string; tenant: string }) {
  const { outcome, job, at, tenant } = props
  return (
    <>
      <Chip tone={tones[outcome]} label={outcome} />{' '}
      {job === null ? (
        <Time at={at} />
      ) : (
        <a href={linkToJob(job, tenant)}>
          <Time at={at} />
        </a>
      )}
    </>
  )
}
