import { Chip } from '../components/chip.tsx'
import { Table } from '../components/table.tsx'
import { describeWait, formatAbsolute, formatCount, formatDuration, formatUsd } from '../format.ts'
import { useApp } from '../state/app.ts'
import type { JobWatch } from '../state/job-watch.ts'
import type { Tone } from '../state/lane-health.ts'
import { buildTimeline, type Stretch, type TimelineRow } from '../timeline.ts'
import type { Job } from '../wire.ts'

const tones: Record<string, Tone> = {
  running: 'info',
  completed: 'good',
  throttled: 'warn',
  retryable: 'warn',
  aborted: 'warn',
  timeout: 'bad',
  failed: 'bad',
  lost: 'bad',
}

/** All waits and calls of a job, one below the other, on one time scale. */
export function JobTimeline({ watch, job }: { watch: JobWatch; job: Job }) {
  const now = useApp().now.value
  const timeline = buildTimeline(job, watch.attempts.value, now)
  const { rows, waiting } = timeline
  return (
    <section class="panel">
      <Table
        caption={`Timeline: ${rows.length} ${rows.length === 1 ? 'call' : 'calls'} over ${formatDuration(timeline.to - timeline.from)}`}
        isCaptionShown
        head={[
          { name: 'Call' },
          { name: 'Waited, then called' },
          { name: 'Outcome' },
          { name: 'Waited', isNumber: true },
          { name: 'Took', isNumber: true },
          { name: 'Tokens', isNumber: true },
          { name: 'Cost', isNumber: true },
        ]}
      >
        {rows.map((row) => (
          <Call key={row.attempt.attempt} row={row} from={timeline.from} />
        ))}
        {waiting === null ? null : (
          <tr>
            <th scope="row">{rows.length === 0 ? 'first' : 'next'}</th>
            <td class="wide-bar">
              <Track waited={waiting} called={null} tone="idle" />
            </td>
            <td>
              <Chip tone="idle" label="waiting" />
              {job.waiting_for === null ? null : (
                <div class="note muted">for {describeWait(job.waiting_for)}</div>
              )}
            </td>
            <td class="num right">{formatDuration(waiting.to - waiting.from)}</td>
            <td />
            <td />
            <td />
          </tr>
        )}
      </Table>
      {rows.length === 0 && waiting === null ? <p class="muted">No call was made for it.</p> : null}
    </section>
  )
}

function Call({ row: { attempt, waited, called }, from }: { row: TimelineRow; from: number }) {
  const started = Date.parse(attempt.started_at)
  const tone = tones[attempt.outcome] ?? 'idle'
  const details = [
    attempt.status === null ? null : `status ${attempt.status}`,
    attempt.error_code,
    attempt.coalesced > 1 ? `one request for ${formatCount(attempt.coalesced)} jobs` : null,
  ].filter((detail) => detail !== null)
  return (
    <tr>
      <th scope="row" title={`${attempt.provider}/${attempt.model}, ${formatAbsolute(started)}`}>
        {attempt.attempt} <span class="muted num note">+{formatDuration(started - from)}</span>
      </th>
      <td class="wide-bar">
        <Track waited={waited} called={called} tone={tone} />
      </td>
      <td>
        <Chip tone={tone} label={attempt.outcome} />
        {attempt.ambiguous ? (
          <>
            {' '}
            <span title="It is not known whether the provider did this work, and billed it.">
              <Chip tone="warn" label="ambiguous" />
            </span>
          </>
        ) : null}
        {details.length === 0 ? null : <div class="note muted breakable">{details.join(', ')}</div>}
      </td>
      <td class="num right">
        {formatDuration(waited.to - waited.from)}
        {attempt.waited_for === null ? null : (
          <div class="note muted">for {describeWait(attempt.waited_for)}</div>
        )}
      </td>
      <td class="num right">{formatDuration(called.to - called.from)}</td>
      <td class="num right">{formatCount(attempt.usage?.total_tokens ?? null)}</td>
      <td class="num right">{formatUsd(attempt.cost_usd)}</td>
    </tr>
  )
}

function Track({ waited, called, tone }: { waited: Stretch; called: Stretch | null; tone: Tone }) {
  const place = ({ start, length }: Stretch) => ({ '--start': String(start), '--share': String(length) })
  return (
    <span class="track" aria-hidden="true">
      <i class="waited" style={place(waited)} />
      {called === null ? null : <i class={`called ${tone}`} style={place(called)} />}
    </span>
  )
}
