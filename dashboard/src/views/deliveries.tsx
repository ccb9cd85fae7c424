import { useState } from 'preact/hooks'
import { explain } from '../api.ts'
import { Chip } from '../components/chip.tsx'
import { Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import { formatDuration } from '../format.ts'
import { useApp } from '../state/app.ts'
import type { JobWatch } from '../state/job-watch.ts'
import type { Delivery } from '../wire.ts'

const tones = { pending: 'info', delivered: 'good', failed: 'bad' } as const

/** The outcome of a job's webhooks. */
export function Deliveries({ watch, tenant }: { watch: JobWatch; tenant: string | null }) {
  const deliveries = watch.deliveries.value
  if (deliveries.length === 0) return null
  return (
    <section class="panel">
      <Table
        caption="Webhook deliveries"
        isCaptionShown
        head={[
          { name: 'Event' },
          { name: 'To' },
          { name: 'Status' },
          { name: 'Last try' },
          { name: 'Next try' },
          { name: 'Action', isHidden: true },
        ]}
      >
        {deliveries.map((delivery) => (
          <DeliveryRow key={delivery.id} delivery={delivery} tenant={tenant} onChange={watch.restart} />
        ))}
      </Table>
    </section>
  )
}

function DeliveryRow(props: { delivery: Delivery; tenant: string | null; onChange: () => void }) {
  const { delivery, tenant, onChange } = props
  const app = useApp()
  const [isBusy, setBusy] = useState(false)
  const last = delivery.attempts.at(-1)
  const redeliver = async () => {
    setBusy(true)
    try {
      await app.api.json(`/v1/deliveries/${encodeURIComponent(delivery.id)}/redeliver`, {
        method: 'POST',
        tenant,
      })
      app.notify('good', 'It is sent again.')
      onChange()
    } catch (error) {
      app.notify('bad', explain(error))
    }
    setBusy(false)
  }
  return (
    <tr>
      <th scope="row">{delivery.event}</th>
      <td class="breakable">{delivery.url}</td>
      <td>
        <Chip tone={tones[delivery.status]} label={delivery.status} />
        <div class="note muted num">{delivery.attempts.length} tries</div>
      </td>
      <td class="num">
        {last === undefined ? null : (
          <>
            <Time at={last.at} />
            <div class="note muted breakable">
              {last.error ?? `status ${last.status}`}, {formatDuration(last.latency_ms)}
              {last.retry_after_ms === undefined
                ? ''
                : `; asked for ${formatDuration(last.retry_after_ms)} of quiet`}
            </div>
          </>
        )}
      </td>
      <td class="num">
        <Time at={delivery.next_attempt_at} />
      </td>
      <td class="right">
        {app.may('jobs') ? (
          <button type="button" class="small" disabled={isBusy} onClick={redeliver}>
            Send again
          </button>
        ) : null}
      </td>
    </tr>
  )
}
