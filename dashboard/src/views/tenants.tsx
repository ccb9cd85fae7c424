import { Chip } from '../components/chip.tsx'
import { Loading } from '../components/empty.tsx'
import { Bar } from '../components/gauge.tsx'
import { Table } from '../components/table.tsx'
import { countOf, formatCount, formatRate, formatShare, formatUsd } from '../format.ts'
import { useApp } from '../state/app.ts'
import { linkToJobs } from '../state/route.ts'
import type { Tenant } from '../wire.ts'
import { TenantActions } from './lane-actions.tsx'
import { TenantKeys } from './tenant-keys.tsx'

/** Each tenant's share, spending, and use of its limits. */
export function TenantsView() {
  const overview = useApp().feed.overview.value
  if (overview === null) return <Loading />
  return (
    <>
      <div class="page-head">
        <h1>Tenants and keys</h1>
        <p class="muted">
          {overview.tenant_count > overview.tenants.length
            ? `The ${overview.tenants.length} of ${formatCount(overview.tenant_count)} with the most open jobs. `
            : null}
          Shares count jobs that finished within the last minute. Budgets start again at midnight, UTC.
        </p>
      </div>
      <section class="panel">
        <Table
          caption="Tenants"
          head={[
            { name: 'Tenant' },
            { name: 'Weight', isNumber: true },
            { name: 'Served' },
            { name: 'Open jobs, of at most' },
            { name: 'Running', isNumber: true },
            { name: 'Completed', isNumber: true },
            { name: 'Failed', isNumber: true },
            { name: 'Spent today, of the budget' },
            { name: 'Actions', isHidden: true },
          ]}
        >
          {overview.tenants.map((tenant) => (
            <TenantRow key={tenant.id} tenant={tenant} />
          ))}
        </Table>
      </section>
      <TenantKeys />
    </>
  )
}

function TenantRow({ tenant }: { tenant: Tenant }) {
  const { id, weight, counts, max_queued: most, share, finished_per_minute: rate } = tenant
  const open = counts.scheduled + counts.queued + counts.running
  const parked = tenant.waiting_for_fair_keys
  return (
    <tr>
      <th scope="row">
        <a href={linkToJobs({ tenant: id })}>{id}</a>
      </th>
      <td class="num right">×{weight}</td>
      <td>
        <Meter
          label={`Share of ${id}`}
          share={share}
          isPlain
          text={`${formatShare(share)}, ${formatRate(rate)} jobs/min`}
        />
      </td>
      <td>
        <Meter
          label={`Open jobs of ${id}`}
          share={most === null ? 0 : open / most}
          text={most === null ? countOf(open, 'job') : `${formatCount(open)} of ${countOf(most, 'job')}`}
        />
        {parked > 0 && (
          <span class="num note">{`${formatCount(parked)} wait for limits of their fair keys`}</span>
        )}
      </td>
      <td class="num right">{formatCount(counts.running)}</td>
      <td class="num right">{formatCount(counts.completed)}</td>
      <td class="num right">
        {counts.failed === 0 ? (
          '0'
        ) : (
          <a href={linkToJobs({ tenant: id, status: 'failed' })}>{formatCount(counts.failed)}</a>
        )}
      </td>
      <td>
        <Budget tenant={tenant} />
      </td>
      <td class="right">
        {tenant.paused_until === null ? null : <Chip tone="warn" label="paused" />}{' '}
        <TenantActions tenant={tenant} />
      </td>
    </tr>
  )
}

function Budget({ tenant }: { tenant: Tenant }) {
  const { id, spent_usd: spent, reserved_usd: reserved, budget_usd_per_day: budget } = tenant
  const held = reserved > 0 ? ` + ${formatUsd(reserved)} reserved` : ''
  if (budget === null) return <span class="num">{`${formatUsd(spent)}${held}, no budget`}</span>
  return (
    <Meter
      label={`Budget of ${id}`}
      share={(spent + reserved) / budget}
      text={`${formatUsd(spent)}${held} of ${formatUsd(budget)}`}
    />
  )
}

/** `isPlain`: a full meter is no problem, so it has no warning colour. */
function Meter(props: { label: string; share: number; text: string; isPlain?: boolean }) {
  const { label, share, text, isPlain = false } = props
  const tone = isPlain || share < 0.9 ? undefined : share < 1 ? 'near' : 'full'
  return (
    <div class="meter">
      <Bar label={`${label}: ${formatShare(share)}`} share={Math.min(1, share)} tone={tone} />
      <span class="num note">{text}</span>
    </div>
  )
}
