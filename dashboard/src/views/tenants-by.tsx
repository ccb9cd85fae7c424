import { useState } from 'preact/hooks'
import { formatCount, formatRate, formatShare, formatUsd } from '../format.ts'
import { linkToJobs } from '../state/route.ts'
import type { Overview, Tenant } from '../wire.ts'

/** The most lines; the page of tenants shows all. */
const SHOWN = 8

const openOf = ({ counts }: Tenant) => counts.scheduled + counts.queued + counts.running

/** The columns to sort by, always in descending order. */
const columns = {
  open: { name: 'Open', title: 'Jobs submitted that have not ended', of: openOf },
  share: {
    name: 'Served',
    title: 'Share of what finished within the last minute',
    of: (one: Tenant) => one.share,
  },
  failed: { name: 'Failed', title: 'Failed jobs that are kept', of: (one: Tenant) => one.counts.failed },
  spent: {
    name: 'Today',
    title: 'Spent and reserved today, of the budget',
    of: (one: Tenant) => one.spent_usd + one.reserved_usd,
  },
} as const
type Column = keyof typeof columns

/** Tenants by what they submit, get or spend: the greatest first. */
export function TenantsBy({ overview }: { overview: Overview }) {
  const [by, setBy] = useState<Column>('open')
  if (overview.tenants.length < 2) return null
  const tenants = overview.tenants.toSorted((a, b) => columns[by].of(b) - columns[by].of(a))
  const rest = overview.tenant_count - Math.min(SHOWN, tenants.length)
  return (
    <section class="panel" aria-labelledby="shares">
      <h2 id="shares">Who submits, who is served</h2>
      <div class="table">
        <table class="tight">
          <caption class="unseen">Tenants by what they have open, are served, and spend</caption>
          <thead>
            <tr>
              <th scope="col">Tenant</th>
              {Object.entries(columns).map(([column, { name, title }]) => (
                <th
                  key={column}
                  scope="col"
                  class="right"
                  title={title}
                  aria-sort={column === by ? 'descending' : 'none'}
                >
                  <button type="button" class="sort" onClick={() => setBy(column as Column)}>
                    {name}
                    {column === by ? ' ▾' : ''}
                  </button>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {tenants.slice(0, SHOWN).map((tenant) => (
              <Row key={tenant.id} tenant={tenant} />
            ))}
          </tbody>
        </table>
      </div>
      {rest > 0 ? (
        <p class="note">
          <a href="#/tenants">and {formatCount(rest)} more</a>
        </p>
      ) : null}
    </section>
  )
}

function Row({ tenant }: { tenant: Tenant }) {
  const { id, counts, share, finished_per_minute: rate, spent_usd: spent, reserved_usd: reserved } = tenant
  const budget = tenant.budget_usd_per_day
  const used = spent + reserved
  return (
    <tr>
      <th scope="row" class="clip" title={id}>
        <a href={linkToJobs({ tenant: id })}>{id}</a>
      </th>
      <td class="num right">{formatCount(openOf(tenant))}</td>
      <td class="num right" title={`${formatRate(rate)} jobs a minute`}>
        {formatShare(share)}
      </td>
      <td class="num right">{formatCount(counts.failed)}</td>
      <td
        class={`num right ${budget !== null && used >= 0.9 * budget ? 'warn-text' : ''}`}
        title={budget === null ? 'no budget' : `of ${formatUsd(budget)} a day`}
      >
        {formatUsd(used)}
        {budget === null ? '' : ` of ${formatUsd(budget)}`}
      </td>
    </tr>
  )
}
