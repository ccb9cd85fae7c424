import type { ComponentChildren } from 'preact'
import { DayBars } from '../components/day-bars.tsx'
import { Empty, Loading } from '../components/empty.tsx'
import { FailureText } from '../components/failure.tsx'
import { Bar } from '../components/gauge.tsx'
import { Stat } from '../components/stat.tsx'
import { Table } from '../components/table.tsx'
import { countOf, formatCostSum, formatCount, formatShare, formatUsd } from '../format.ts'
import { useApp } from '../state/app.ts'
import { type FilterOf, toQuery } from '../state/route.ts'
import { savedOf, sumUsage, toBars } from '../state/usage-days.ts'
import { useRead } from '../state/use-read.ts'
import type { UsageEntry, UsageList } from '../wire.ts'
import { UsageFilters } from './usage-filters.tsx'

const READ_EVERY_MS = 60_000
const MOST_BARS = 100
/** The most rows of a table; one more row sums up the rest. */
const TOP = 20
/** More days than the history keeps, so that no day is left out. */
const MOST_DAYS = '10000'

/** Usage and cost by day, tenant, model and tier: of all tenants, or of the key's own. */
export function UsageView({ filter }: { filter: FilterOf<'usage'> }) {
  const { feed } = useApp()
  // Only keys that see all tenants may learn how the server is configured.
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
          <UsageFilters filter={filter} />
          <Sums key={JSON.stringify(filter)} filter={filter} />
        </>
      )}
    </>
  )
}

function useUsage(filter: FilterOf<'usage'>, query: Record<string, string>) {
  const { tenant, from, to } = filter
  return useRead<UsageList>(`/v1/usage${toQuery({ ...query, from, to })}`, READ_EVERY_MS, tenant || null)
}

function Sums({ filter }: { filter: FilterOf<'usage'> }) {
  const days = useUsage(filter, { by: 'day', limit: MOST_DAYS })
  if (days.body === null) return days.failure === null ? <Loading /> : <FailureText text={days.failure} />
  const total = sumUsage(days.body.data)
  return (
    <>
      <FailureText text={days.failure} />
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

/** Usage by tenant; absent if there is only one, because the total says the same. */
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
  if (body === null) return <FailureText text={failure} />
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
