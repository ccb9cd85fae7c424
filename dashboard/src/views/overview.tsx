import { useState } from 'preact/hooks'
import { Chip } from '../components/chip.tsx'
import { Empty, Loading } from '../components/empty.tsx'
import { Bar, Parts } from '../components/gauge.tsx'
import { Stat } from '../components/stat.tsx'
import { countOf, formatCount, formatRate, formatShare, formatUsd } from '../format.ts'
import { useApp } from '../state/app.ts'
import { findConcerns } from '../state/attention.ts'
import { linkToJobs, linkToLane } from '../state/route.ts'
import type { Overview } from '../wire.ts'
import { GroupProgress } from './group-progress.tsx'
import { LaneCard } from './lane-card.tsx'

/** With more lanes than this there is a field to find one. */
const MANY_LANES = 8
/** Of what wants attention, the worst first. */
const SHOWN_CONCERNS = 12
/** Lines of each list beside the lanes. */
const SIDE_LINES = 5

export function OverviewView() {
  const overview = useApp().feed.overview.value
  if (overview === null) return <Loading />
  return (
    <>
      <h1 class="unseen">Overview</h1>
      <Totals overview={overview} />
      <div class="columns overview">
        <div>
          <Attention overview={overview} />
        </div>
        <Lanes overview={overview} />
        <aside aria-label="In short">
          <Shares overview={overview} />
          <Progress overview={overview} />
          <Failures overview={overview} />
        </aside>
      </div>
    </>
  )
}

function Totals({ overview }: { overview: Overview }) {
  const { total } = useApp().feed.history
  const sum = (numbers: number[]) => numbers.reduce((sum, number) => sum + number, 0)
  const { tenants, lanes } = overview
  const counts = (name: 'queued' | 'scheduled' | 'failed') => sum(tenants.map(({ counts }) => counts[name]))
  const reserved = sum(tenants.map((tenant) => tenant.reserved_usd))
  const throttled = sum(lanes.map((lane) => lane.throttled))
  // Less than at first: a lane has left.
  const recent = Math.max(0, throttled - (total.throttled.find((count) => count !== null) ?? throttled))
  const minutes = Math.max(1, Math.round(((total.at.at(-1) ?? 0) - (total.at[0] ?? 0)) / 60))
  const paused = lanes.filter((lane) => lane.paused_until !== null).length
  return (
    <dl class="stats panel">
      <Stat
        name="Finished"
        value={formatRate(total.finished.at(-1) ?? 0)}
        unit="jobs/min"
        note={
          overview.tenant_count > tenants.length
            ? `of ${tenants.length} of ${formatCount(overview.tenant_count)} tenants`
            : undefined
        }
        values={total.finished}
      />
      <Stat
        name="In flight"
        value={formatCount(total.inFlight.at(-1) ?? 0)}
        unit="calls"
        note={
          paused > 0
            ? `${paused} of ${countOf(lanes.length, 'lane')} paused`
            : `over ${countOf(lanes.length, 'lane')}`
        }
        values={total.inFlight}
      />
      <Stat
        name="Waiting"
        href={linkToJobs({ status: 'queued' })}
        value={formatCount(counts('queued') + counts('scheduled'))}
        unit="jobs"
        note={counts('scheduled') > 0 ? `${formatCount(counts('scheduled'))} of them scheduled` : undefined}
        values={total.waiting}
      />
      <Stat
        name="Failed"
        href="#/failures"
        value={formatCount(counts('failed'))}
        unit="jobs kept"
        values={total.failed}
        {...(counts('failed') > 0 ? { tone: 'bad' as const } : {})}
      />
      <Stat
        name="Spent today"
        value={formatUsd(sum(tenants.map((tenant) => tenant.spent_usd)))}
        note={`${formatUsd(reserved)} reserved, since 0:00 UTC`}
        values={total.spent}
      />
      <Stat
        name="429s"
        value={formatCount(recent)}
        unit={`in ${minutes} min`}
        note={`${formatCount(throttled)} ever`}
        {...(recent > 0 ? { tone: 'bad' as const } : {})}
      />
    </dl>
  )
}

function Lanes({ overview }: { overview: Overview }) {
  const [search, setSearch] = useState('')
  const sought = search.trim().toLowerCase()
  const lanes = overview.lanes.filter(({ id }) => id.toLowerCase().includes(sought))
  return (
    <section aria-labelledby="lanes">
      <div class="section-head">
        <h2 id="lanes">Lanes</h2>
        {overview.lanes.length > MANY_LANES ? (
          <input
            type="search"
            aria-label="Find a lane"
            placeholder="Find a lane"
            value={search}
            onInput={(event) => setSearch(event.currentTarget.value)}
          />
        ) : null}
      </div>
      {overview.lanes.length === 0 ? (
        <Empty title="There are no lanes yet.">
          <p>
            Name a model below <code>providers</code> in <code>sluice.yaml</code>; the file is read again when
            it changes. A lane is one <code>provider/model</code>.
          </p>
        </Empty>
      ) : lanes.length === 0 ? (
        <Empty title="No lane has that in its name." />
      ) : (
        lanes.map((lane) => <LaneCard key={lane.id} lane={lane} />)
      )}
    </section>
  )
}

function Attention({ overview }: { overview: Overview }) {
  const concerns = findConcerns(overview)
  return (
    <section class="panel" aria-labelledby="attention">
      <h2 id="attention">Wants attention</h2>
      {concerns.length === 0 ? (
        <p>
          <Chip tone="good" label="nothing" />{' '}
          <span class="muted">No pause, no breaker, no budget near its end.</span>
        </p>
      ) : (
        <ul class="lines">
          {concerns.slice(0, SHOWN_CONCERNS).map(({ id, tone, subject, kind, text }) => (
            <li key={id} class={`concern ${tone}`}>
              <a href={kind === 'lane' ? linkToLane(subject) : '#/tenants'}>{subject}</a>{' '}
              <span class="muted">{text}</span>
            </li>
          ))}
          {concerns.length > SHOWN_CONCERNS ? (
            <li class="muted">and {formatCount(concerns.length - SHOWN_CONCERNS)} more</li>
          ) : null}
        </ul>
      )}
    </section>
  )
}

function Shares({ overview }: { overview: Overview }) {
  const tenants = [...overview.tenants].sort((a, b) => b.share - a.share).slice(0, SIDE_LINES)
  if (overview.tenants.length < 2) return null
  return (
    <section class="panel" aria-labelledby="shares">
      <h2 id="shares">
        Who is served <span class="muted">share of the last minute</span>
      </h2>
      <ul class="lines">
        {tenants.map(({ id, share, finished_per_minute: rate }) => (
          <li key={id} class="share-line">
            <a href="#/tenants">{id}</a>
            <Bar label={`${id}: ${formatShare(share)}`} share={share} />
            <span class="num right" title={`${formatRate(rate)} jobs a minute`}>
              {formatShare(share)}
            </span>
          </li>
        ))}
      </ul>
    </section>
  )
}

function Progress({ overview }: { overview: Overview }) {
  const open = overview.groups
    .filter(({ counts }) => counts.queued + counts.running + counts.scheduled > 0)
    .slice(0, SIDE_LINES)
  if (open.length === 0) return null
  return (
    <section class="panel" aria-labelledby="progress">
      <h2 id="progress">
        <a href="#/groups">In progress</a>
      </h2>
      <ul class="lines">
        {open.map((group) => (
          <li key={`${group.tenant} ${group.group}`}>
            <GroupProgress group={group} />
          </li>
        ))}
      </ul>
    </section>
  )
}

function Failures({ overview }: { overview: Overview }) {
  const failures = [...overview.failures].sort((a, b) => b.count - a.count).slice(0, SIDE_LINES)
  if (failures.length === 0) return null
  const most = failures[0]!.count
  return (
    <section class="panel" aria-labelledby="failures">
      <h2 id="failures">
        <a href="#/failures">Failed</a> <span class="muted">by error</span>
      </h2>
      <ul class="lines">
        {failures.map(({ tenant, lane, code, count }) => (
          <li key={`${tenant} ${lane} ${code}`} class="failure-line">
            <span class="clip" title={`${code} in ${lane}, ${tenant}`}>
              <code>{code}</code> <span class="muted">{lane}</span>
            </span>
            <Parts label={code} parts={[{ name: 'failed', count, tone: 'bad' }]} total={most} />
            <span class="num right">{formatCount(count)}</span>
          </li>
        ))}
      </ul>
    </section>
  )
}
