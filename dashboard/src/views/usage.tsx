import type { ComponentChildren } from 'preact'
import { useState } from 'preact/hooks'
import { explain } from '../api.ts'
import { DayBars } from '../components/day-bars.tsx'
import { Empty, Loading } from '../components/empty.tsx'
import { Bar } from '../components/gauge.tsx'
import { Stat } from '../components/stat.tsx'
import { Table } from '../components/table.tsx'
import { countOf, formatCostSum, formatCount, formatShare, formatUsd } from '../format.ts'
import { useApp } from '../state/app.ts'
import { type FilterOf, linkToList, toQuery } from '../state/route.ts'
import { lastDays, savedOf, spans, sumUsage, toBars } from '../state/usage-days.ts'
import { useRead } from '../state/use-read.ts'
import type { UsageEntry, UsageList } from '../wire.ts'

const READ_EVERY_MS = 60_000
const MOST_BARS = 100
/** Rows of a table; what is left is one more. */
const TOP = 20
/** More than a table of days can have: history is kept for years at most. */
const MOST_DAYS = '10000'

/** What was used and paid, by day, tenant, model and tier: of all tenants, or the key's own. */
export function UsageView({ filter }: { filter: FilterOf<'usage'> }) {
  const { feed } = useApp()
  // A tenant is not told how the server is configured.
  const isOff = feed.caller.value?.reads_all === true && feed.overview.value?.history === null
  return (
    <>
      <div class="page-head">
        <h1>Usage</h1>
        <p class="muted">By the day (UTC) on which jobs ended, about a second after they did.</p>
      </div>
      {isOff ? (
        <Empty title="Usage is added up in the history, which is off.">
          <p>
            Set <code>history.url</code> in <code>sluice.yaml</code>; sums begin with the jobs that end from
            then on.
          </p>
        </Empty>
      ) : (
        <>
          <Filters filter={filter} />
          <Sums key={JSON.stringify(filter)} filter={filter} />
        </>
      )}
    </>
  )
}

function Filters({ filter }: { filter: FilterOf<'usage'> }) {
  const app = useApp()
  const tenants = app.feed.overview.value?.tenants.map(({ id }) => id) ?? []
  const { tenant } = filter
  const names = tenant === '' || tenants.includes(tenant) ? tenants : [tenant, ...tenants]
  const shown = filter.from === '' ? lastDays(30, app.now.value) : filter
  const change = (changed: Partial<FilterOf<'usage'>>) => {
    location.hash = linkToList('usage', { ...filter, ...changed })
  }
  const changeDay = (name: 'from' | 'to', day: string) => {
    if (day === '') return
    const range = { from: shown.from, to: shown.to || lastDays(1, app.now.peek()).to, [name]: day }
    // The other end follows, so that no range is inside out.
    if (range.from > range.to) change({ from: day, to: day })
    else change(range)
  }
  return (
    <search class="filters" aria-label="Range and tenant">
      <fieldset class="buttons spans">
        <legend class="unseen">The last days</legend>
        {spans.map((days) => {
          const range = lastDays(days, app.now.value)
          const isShown = range.from === shown.from && range.to === shown.to
          return (
            <button
              key={days}
              type="button"
              class="small"
              aria-pressed={isShown}
              onClick={() => change(range)}
            >
              {days} days
            </button>
          )
        })}
      </fieldset>
      {(['from', 'to'] as const).map((name) => (
        <label key={name}>
          {name === 'from' ? 'From' : 'To'}
          <input
            type="date"
            value={shown[name]}
            onChange={(event) => changeDay(name, event.currentTarget.value)}
          />
        </label>
      ))}
      {names.length > 1 || tenant !== '' ? (
        <label>
          Tenant
          <select value={tenant} onChange={(event) => change({ tenant: event.currentTarget.value })}>
            <option value="">all tenants</option>
            {names.map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </label>
      ) : null}
      <CsvButton filter={filter} />
    </search>
  )
}

/** Fetched, not linked to, because a link would carry no key. */
function CsvButton({ filter: { tenant, from, to } }: { filter: FilterOf<'usage'> }) {
  const app = useApp()
  const [isBusy, setBusy] = useState(false)
  const download = async () => {
    setBusy(true)
    try {
      const query = toQuery({ by: 'day,tenant,model,tier', from, to })
      const options = { tenant: tenant || null, accept: 'text/csv' }
      const { response } = await app.api.open(`/v1/usage${query}`, options)
      const [, name = 'usage.csv'] =
        /filename="([^"]+)"/.exec(response.headers.get('content-disposition') ?? '') ?? []
      const url = URL.createObjectURL(await response.blob())
      const link = document.createElement('a')
      link.href = url
      link.download = name
      link.click()
      URL.revokeObjectURL(url)
    } catch (error) {
      app.notify('bad', explain(error))
    }
    setBusy(false)
  }
  return (
    <button
      type="button"
      disabled={isBusy}
      title="A line for each day, tenant, model and tier"
      onClick={download}
    >
      Download CSV
    </button>
  )
}

function useUsage(filter: FilterOf<'usage'>, query: Record<string, string>) {
  const { tenant, from, to } = filter
  return useRead<UsageList>(`/v1/usage${toQuery({ ...query, from, to })}`, READ_EVERY_MS, tenant || null)
}

function Sums({ filter }: { filter: FilterOf<'usage'> }) {
  const days = useUsage(filter, { by: 'day', limit: MOST_DAYS })
  if (days.body === null) return days.failure === null ? <Loading /> : <Failure text={days.failure} />
  const total = sumUsage(days.body.data)
  return (
    <>
      {days.failure === null ? null : <Failure text={days.failure} />}
      {total === null ? (
        <Empty title="Nothing ended in these days.">
          <p>
            Sums are kept for <code>history.keep</code>.
          </p>
        </Empty>
      ) : (
        <>
          <Totals total={total} />
          <section class="panel">
            <h2>USD by day</h2>
            <DayBars bars={toBars(days.body, MOST_BARS)} />
          </section>
          <div class="halves">
            <Tenants filter={filter} />
            <TopTable filter={filter} by="model" title="By model" />
            <TopTable filter={filter} by="tier" title="By tier" />
            {filter.tenant === '' ? null : <TopTable filter={filter} by="fair_key" title="By fair key" />}
            <Saved total={total} />
            <Tokens total={total} />
          </div>
          <UsageTable
            caption="By day"
            name="Day"
            rows={days.body.data.toReversed().map((entry) => ({ name: entry.day!, entry }))}
          />
        </>
      )}
    </>
  )
}

function Failure({ text }: { text: string }) {
  return (
    <p class="failure" role="alert">
      {text}
    </p>
  )
}

function Totals({ total }: { total: UsageEntry }) {
  const { jobs, failed, calls, input_tokens, output_tokens, unpriced_calls: unpriced } = total
  const cost = total.cost_usd ?? 0
  const saved = savedOf(total)
  return (
    <dl class="stats panel">
      <Stat
        name="Cost"
        value={formatUsd(total.cost_usd)}
        note={unpriced > 0 ? `${countOf(unpriced, 'call')} unpriced` : undefined}
      />
      <Stat
        name="Saved"
        value={formatUsd(saved)}
        note={
          cost + saved > 0 ? `${formatShare(saved / (cost + saved))} of what it would have cost` : undefined
        }
      />
      <Stat name="Jobs" value={formatCount(jobs)} note={`${formatCount(failed)} failed`} />
      <Stat name="Calls" value={formatCount(calls)} />
      <Stat name="Input" value={formatCount(input_tokens)} unit="tokens" />
      <Stat name="Output" value={formatCount(output_tokens)} unit="tokens" />
    </dl>
  )
}

/** Of several; one alone is the total. */
function Tenants({ filter }: { filter: FilterOf<'usage'> }) {
  const { body } = useUsage(filter, { by: 'tenant', top: '2' })
  return body === null || body.data.length < 2 ? null : (
    <TopTable filter={filter} by="tenant" title="By tenant" />
  )
}

function TopTable(props: {
  filter: FilterOf<'usage'>
  by: 'tenant' | 'model' | 'tier' | 'fair_key'
  title: string
}) {
  const { filter, by, title } = props
  const { body, failure } = useUsage(filter, { by, top: String(TOP) })
  if (body === null) return failure === null ? null : <Failure text={failure} />
  const rows: UsageRow[] = body.data.map((entry) => ({ name: entry[by] ?? 'none', entry }))
  if (body.rest !== null) rows.push({ name: `${formatCount(body.rest.entries)} more`, entry: body.rest })
  return <UsageTable caption={title} name={title.slice('By '.length)} rows={rows} />
}

type UsageRow = { name: string; entry: UsageEntry }

function UsageTable({ caption, name, rows }: { caption: string; name: string; rows: UsageRow[] }) {
  const total = rows.reduce((sum, { entry }) => sum + (entry.cost_usd ?? 0), 0)
  return (
    <section class="panel">
      <Table
        caption={caption}
        isCaptionShown
        head={[
          { name: name[0]!.toUpperCase() + name.slice(1) },
          { name: 'Cost', isNumber: true },
          { name: 'Share of the cost', isHidden: true },
          { name: 'Saved', isNumber: true },
          { name: 'Jobs', isNumber: true },
          { name: 'Input', isNumber: true },
          { name: 'Output', isNumber: true },
        ]}
      >
        {rows.map(({ name: own, entry }, at) => {
          const share = total > 0 ? (entry.cost_usd ?? 0) / total : 0
          return (
            <tr key={`${at} ${own}`}>
              <th scope="row" class="clip" title={own}>
                {own}
              </th>
              <td class="num right">{formatCostSum(entry)}</td>
              <td class="share-bar">
                <Bar label={`${formatShare(share)} of the cost`} share={share} />
              </td>
              <td class="num right">{formatUsd(savedOf(entry))}</td>
              <td class="num right">{formatCount(entry.jobs)}</td>
              <td class="num right">{formatCount(entry.input_tokens)}</td>
              <td class="num right">{formatCount(entry.output_tokens)}</td>
            </tr>
          )
        })}
      </Table>
    </section>
  )
}

function Saved({ total }: { total: UsageEntry }) {
  return (
    <Facts
      title="Saved"
      facts={{
        'Kept answers': formatUsd(total.saved_cache_usd),
        'Shared answers': formatUsd(total.saved_sharing_usd),
        'Slower tiers': formatUsd(total.saved_tiers_usd),
        'Prompt caches': formatUsd(total.saved_prompt_cache_usd),
      }}
    />
  )
}

function Tokens({ total }: { total: UsageEntry }) {
  return (
    <Facts
      title="Tokens"
      facts={{
        Input: countOf(total.input_tokens, 'token'),
        'of them cached': countOf(total.cached_input_tokens, 'token'),
        'written to caches': countOf(total.cache_write_tokens, 'token'),
        Output: countOf(total.output_tokens, 'token'),
        'of them reasoning': countOf(total.reasoning_tokens, 'token'),
      }}
    />
  )
}

function Facts({ title, facts }: { title: string; facts: Record<string, ComponentChildren> }) {
  return (
    <section class="panel">
      <h2>{title}</h2>
      <dl class="facts list sums">
        {Object.entries(facts).map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd class="num">{value}</dd>
          </div>
        ))}
      </dl>
    </section>
  )
}
