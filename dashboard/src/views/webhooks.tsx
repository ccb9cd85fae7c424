import { useState } from 'preact/hooks'
import { explain } from '../api.ts'
import { Chip } from '../components/chip.tsx'
import { Choice } from '../components/choice.tsx'
import { Empty } from '../components/empty.tsx'
import { Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import { countOf, formatCount, nothing, shortenId } from '../format.ts'
import { useApp } from '../state/app.ts'
import { descending, type Order, type Owned } from '../state/owned-lists.ts'
import { type FilterOf, linkToFlow, linkToJob, linkToList } from '../state/route.ts'
import { useOwned } from '../state/use-owned.ts'
import type { Delivery, WebhookEndpoint } from '../wire.ts'
import { OwnedList, TenantChoice } from './owned-list.tsx'

/** Time between two reads of the lists, ms. */
const READ_EVERY_MS = 5_000

/** Orders failing endpoints first, then by the latest attempt. */
const failingFirst: Order<WebhookEndpoint> = (one, other) =>
  Number(other.failing_since !== null) - Number(one.failing_since !== null) ||
  (one.last_at < other.last_at ? 1 : -1)

const latest = descending<Delivery>((delivery) => delivery.attempts.at(-1)?.at ?? delivery.created_at)

/** Text for an empty list, by the chosen status. */
const noDeliveries: Record<string, string> = {
  '': 'Every delivery got through.',
  pending: 'No delivery is being retried.',
  failed: 'No delivery was given up.',
}

/** The endpoints of webhooks, and deliveries that did not succeed. */
export function WebhooksView({ filter }: { filter: FilterOf<'webhooks'> }) {
  const { tenant, status } = filter
  const endpoints = useOwned({
    path: '/v1/webhook-endpoints',
    ...{ tenant, everyMs: READ_EVERY_MS, order: failingFirst, isWhole: true },
  })
  const deliveries = useOwned({
    path: '/v1/deliveries',
    ...{ query: { status }, tenant, everyMs: READ_EVERY_MS, order: latest },
  })
  const choose = (name: keyof typeof filter) => (value: string) => {
    location.hash = linkToList('webhooks', { ...filter, [name]: value })
  }
  return (
    <>
      <div class="page-head">
        <h1>Webhooks</h1>
        <p class="muted">Where they went in the last 30 days, and what did not get through.</p>
      </div>
      <search class="filters" aria-label="Filter webhooks">
        <TenantChoice tenant={tenant} onChange={choose('tenant')} />
        <Choice
          label="Deliveries"
          any="all that fail"
          value={status}
          values={['pending', 'failed']}
          onChange={choose('status')}
        />
      </search>
      <OwnedList
        list={endpoints}
        table={(found) => <Endpoints endpoints={found} />}
        empty={
          <Empty title="No webhook was sent yet.">
            <p>
              A job with <code>{'"webhook": { "url": "https://…" }'}</code> sends one when it ends.
            </p>
          </Empty>
        }
      />
      <OwnedList
        list={deliveries}
        table={(found) => <Failing deliveries={found} onChange={deliveries.reload} />}
        empty={<Empty title={noDeliveries[status] ?? noDeliveries['']!} />}
      />
    </>
  )
}

function Endpoints({ endpoints }: { endpoints: Owned<WebhookEndpoint>[] }) {
  return (
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
      {endpoints.map(({ tenant, entry }) => (
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
  )
}

function Failing({ deliveries, onChange }: { deliveries: Owned<Delivery>[]; onChange: () => void }) {
  return (
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
      {deliveries.map((owned) => (
        <Row key={`${owned.tenant} ${owned.entry.id}`} owned={owned} onChange={onChange} />
      ))}
    </Table>
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
          <Chip tone="warn" label="retrying" />
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
