import { Chip } from '../components/chip.tsx'
import { Empty, Loading } from '../components/empty.tsx'
import { Bar } from '../components/gauge.tsx'
import { Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import { countOf, formatCount, formatShare, formatUsd, nothing, toWords } from '../format.ts'
import type { Tone } from '../state/lane-health.ts'
import { linkToLane } from '../state/route.ts'
import { useRead } from '../state/use-read.ts'
import type { List, ProviderBatch } from '../wire.ts'

const READ_EVERY_MS = 5_000
/** The most batches shown; the command line lists more. */
const MOST = 200

/** The latest batches at providers: progress, outcome of the lines, and savings. */
export function ProviderBatchesView() {
  const { body, failure } = useRead<List<ProviderBatch>>(`/v1/provider-batches?limit=${MOST}`, READ_EVERY_MS)
  return (
    <>
      <div class="page-head">
        <h1>Provider batches</h1>
        <p class="muted">
          Jobs that may wait, in the providers' own batch APIs. {body === null ? null : sumUp(body.data)}
        </p>
      </div>
      {failure === null ? null : (
        <p role="alert" class="failure">
          {failure}
        </p>
      )}
      {body === null ? failure === null ? <Loading /> : null : <Batches batches={body.data} />}
    </>
  )
}

function sumUp(batches: readonly ProviderBatch[]): string {
  if (batches.length === 0) return ''
  const open = batches.filter(({ state }) => state !== 'ended').length
  const saved = batches.reduce((sum, batch) => sum + batch.saved_usd, 0)
  const latest = batches.length === 1 ? 'The latest one' : `The latest ${batches.length}`
  return `${latest}: ${open} open, ${formatUsd(saved)} saved.`
}

function Batches({ batches }: { batches: readonly ProviderBatch[] }) {
  if (batches.length === 0) {
    return (
      <Empty title="There are no provider batches.">
        <p>
          Jobs with <code>"tier": "batch"</code> or <code>"auto"</code> go there, as do the lines of{' '}
          <code>/v1/batches</code>.
        </p>
      </Empty>
    )
  }
  return (
    <section class="panel">
      <Table
        caption="Provider batches"
        head={[
          { name: 'Batch' },
          { name: 'Lane' },
          { name: 'State' },
          { name: 'Lines' },
          { name: 'Submitted' },
          { name: 'Leaves' },
          { name: 'Ended' },
          { name: 'Cost', isNumber: true },
          { name: 'Saved', isNumber: true },
        ]}
      >
        {batches.map((batch) => (
          <Row key={batch.id} batch={batch} />
        ))}
      </Table>
    </section>
  )
}

function Row({ batch }: { batch: ProviderBatch }) {
  const { id, lane, type, state, outcome, provider_id: theirs, error } = batch
  return (
    <tr>
      <th scope="row" class="clip" title={`${id}, at the provider ${theirs ?? 'not known'}`}>
        {theirs ?? id}
      </th>
      <td>
        <a href={linkToLane(lane)}>{lane}</a>
        <span class="note muted">{` ${type}`}</span>
      </td>
      <td>
        <Chip tone={toneOf(batch)} label={toWords(outcome ?? state)} />
        {error === null ? null : (
          <span class="note clip" title={error}>
            {error}
          </span>
        )}
      </td>
      <td>
        <Lines batch={batch} />
      </td>
      <td class="num">
        <Time at={batch.submitted_at} />
      </td>
      <td class="num">{state === 'ended' ? nothing : <Time at={batch.leave_at} />}</td>
      <td class="num">
        <Time at={batch.ended_at} />
      </td>
      <td class="num right">{formatUsd(batch.cost_usd)}</td>
      <td class="num right">{formatUsd(batch.saved_usd)}</td>
    </tr>
  )
}

function Lines({ batch: { id, lines } }: { batch: ProviderBatch }) {
  const { total, completed, failed, left, dropped } = lines
  const share = total === 0 ? 0 : (completed + failed + left + dropped) / total
  const parts = [
    `${formatCount(completed)} of ${countOf(total, 'line')} completed`,
    failed > 0 ? `${formatCount(failed)} failed` : null,
    left > 0 ? `${formatCount(left)} went another way` : null,
    dropped > 0 ? `${formatCount(dropped)} not needed` : null,
  ]
  return (
    <div class="meter">
      <Bar label={`Lines of ${id} that are settled: ${formatShare(share)}`} share={share} tone={undefined} />
      <span class="num note">{parts.filter((part) => part !== null).join(', ')}</span>
    </div>
  )
}

function toneOf({ state, outcome }: ProviderBatch): Tone {
  if (outcome === 'completed') return 'good'
  if (outcome === 'failed' || outcome === 'lost' || outcome === 'refused') return 'bad'
  if (outcome === 'empty') return 'idle'
  if (outcome !== null || state === 'cancelling') return 'warn'
  return state === 'in_progress' ? 'info' : 'idle'
}
