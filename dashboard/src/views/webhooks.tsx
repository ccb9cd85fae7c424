import { useState } from 'preact/hooks'
import { explain } from '../api.ts'
import { Chip } from '../components/chip.tsx'
import { Choice } from '../components/choice.tsx'
import { Empty, Loading } from '../components/empty.tsx'
import { FailureText } from '../components/failure.tsx'
import { Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import { countOf, formatCount, nothing, shortenId } from '../format.ts'
import { useApp } from '../state/app.ts'
import { toQuery } from '../state/query.ts'
import { linkToFlow, linkToJob, type WebhookFilter } from '../state/route.ts'
import { type Owned, useOwned } from '../state/use-owned.ts'
import type { Delivery, WebhookEndpoint } from '../wire.ts'

/** They are read again so often, ms. */
const READ_EVERY_MS = 5_000
/** Deliveries of each tenant, and of all; the API lists more. */
const MOST = 100

/** Where webhooks go, and what does not get through. */
export function WebhooksView({ filter }: { filter: WebhookFilter }) {
  const { feed } = useApp()
  const { tenant, status } = filter
  const tenants = (feed.overview.value?.tenants ?? []).map(({ id }) => id)
  const endpoints = useOwned<WebhookEndpoint>('/v1/webhook-endpoints', tenant, READ_EVERY_MS)
  const path = `/v1/deliveries${toQuery({ status, limit: String(MOST) })}`
  const deliveries = useOwned<Delivery>(path, tenant, READ_EVERY_MS)
  const choose = (name: keyof WebhookFilter) => (value: string) => {
    location.hash = `#/webhooks${toQuery({ ...filter, [name]: value })}`
  }
  return (
    <>
      <div class="page-head">
        <h1>Webhooks</h1>
        <p class="muted">Where they went in the last 30 days, and what did not get through.</p>
      </div>
      <search class="filters" aria-label="Filter webhooks">
        {tenants.length > 1 ? (
          <Choice
            label="Tenant"
            any="all tenants"
            value={tenant}
            values={tenants}
            onChange={choose('tenant')}
          />
        ) : null}
        <Choice
          label="Deliveries"
          any="all that fail"
          value={status}
          values={['pending', 'failed']}
          onChange={choose('status')}
        />
      </search>
      <FailureText text={endpoints.failure ?? deliveries.failure} />
      {endpoints.found === null ? (
        endpoints.failure === null ? (
          <Loading />
        ) : null
      ) : (
        <Endpoints endpoints={endpoints.found} />
      )}
      {deliveries.found === null ? null : (
        <Failing deliveries={deliveries.found} onChange={deliveries.reload} />
      )}
    </>
  )
}

function Endpoints({ endpoints }: { endpoints: Owned<WebhookEndpoint>[] }) {
  if (endpoints.length === 0) {
    return (
      <Empty title="No webhook was sent yet.">
        <p>
          A job with <code>{'"webhook": { "url": "https://…" }'}</code> sends one when it ends.
        </p>
      </Empty>
    )
  }
  // Those that fail first, then by their latest attempt.
  const sorted = endpoints.toSorted(
    (one, other) =>
      Number(other.entry.failing_since !== null) - Number(one.entry.failing_since !== null) ||
      (one.entry.last_at < other.entry.last_at ? 1 : -1),
  )
  return (
    <section class="panel">
      <Table
        caption="Endpoints"
        isCaptionShown
        head={[
          { name: 'Address' },
          { name: 'Tenant' },
          { name: 'State' },
          { name: 'Delivered', isNumber: true },
          { name: 'Failed', isNumber: true },
          { name: 'Last attempt' },
          { name: 'Last answer' },
        ]}
      >
        {sorted.map(({ tenant, entry }) => (
          <tr key={`${tenant} ${entry.url}`}>
            <th scope="row" class="breakable">
              {entry.url}
            </th>
            <td>{tenant}</td>
            <td>
              {entry.failing_since === null ? (
                <Chip tone="good" label="delivers" />
              ) : (
                <>
                  <Chip tone="bad" label="fails" />
                  <div class="note muted">
                    since <Time at={entry.failing_since} />
                  </div>
                </>
              )}
            </td>
            <td class="num right">{formatCount(entry.delivered)}</td>
            <td class="num right">{formatCount(entry.failed)}</td>
            <td class="num">
              <Time at={entry.last_at} />
            </td>
            <td class="breakable">{entry.last_error ?? `status ${entry.last_status ?? nothing}`}</td>
          </tr>
        ))}
      </Table>
    </section>
  )
}

function Failing({ deliveries, onChange }: { deliveries: Owned<Delivery>[]; onChange: () => void }) {
  if (deliveries.length === 0) return <Empty title="Every delivery got through." />
  const latest = ({ entry }: Owned<Delivery>) => entry.attempts.at(-1)?.at ?? entry.created_at
  const sorted = deliveries.toSorted((one, other) => (latest(one) < latest(other) ? 1 : -1)).slice(0, MOST)
  return (
    <section class="panel">
      <Table
        caption="Deliveries that fail"
        isCaptionShown
        head={[
          { name: 'Event' },
          { name: 'Of' },
          { name: 'Tenant' },
          { name: 'To' },
          { name: 'State' },
          { name: 'Last attempt' },
          { name: 'Next attempt' },
          { name: 'Actions', isHidden: true },
        ]}
      >
        {sorted.map((owned) => (
          <Row key={`${owned.tenant} ${owned.entry.id}`} owned={owned} onChange={onChange} />
        ))}
      </Table>
    </section>
  )
}

function Row({ owned, onChange }: { owned: Owned<Delivery>; onChange: () => void }) {
  const app = useApp()
  const [isBusy, setBusy] = useState(false)
  const { tenant, entry } = owned
  const last = entry.attempts.at(-1)
  const id = entry.job_id
  const send = async () => {
    setBusy(true)
    try {
      const path = `/v1/deliveries/${encodeURIComponent(entry.id)}/redeliver`
      await app.api.json(path, { method: 'POST', tenant })
      app.notify('good', 'It is sent again.')
      onChange()
    } catch (error) {
      app.notify('bad', explain(error))
    }
    setBusy(false)
  }
  return (
    <tr>
      <th scope="row">{entry.event}</th>
      <td>
        <a
          class="mono"
          title={id}
          href={id.startsWith('flow_') ? linkToFlow(id, tenant) : linkToJob(id, tenant)}
        >
          {shortenId(id)}
        </a>
      </td>
      <td>{tenant}</td>
      <td class="breakable">{entry.url}</td>
      <td>
        {entry.status === 'failed' ? (
          <Chip tone="bad" label="given up" />
        ) : (
          <Chip tone="warn" label="tried again" />
        )}
        <div class="note muted num">{countOf(entry.attempts.length, 'attempt')}</div>
      </td>
      <td>
        {last === undefined ? (
          nothing
        ) : (
          <>
            <Time at={last.at} />
            <div class="note muted breakable">{last.error ?? `status ${last.status}`}</div>
          </>
        )}
      </td>
      <td class="num">
        <Time at={entry.next_attempt_at} />
      </td>
      <td class="right">
        {app.may('jobs') ? (
          <button
            type="button"
            class="small"
            disabled={isBusy}
            aria-label={`Send again ${entry.event} of ${id}`}
            onClick={send}
          >
            Send again
          </button>
        ) : null}
      </td>
    </tr>
  )
}
