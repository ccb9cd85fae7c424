import { Chip } from '../components/chip.tsx'
import { Loading } from '../components/empty.tsx'
import { Stat } from '../components/stat.tsx'
import { countOf, formatCount, formatRate, formatUsd } from '../format.ts'
import { useApp } from '../state/app.ts'
import { type Concern, findConcerns, sumFailures } from '../state/attention.ts'
import { linkToJobs, linkToLane, linkToList } from '../state/route.ts'
import type { Overview } from '../wire.ts'
import { GroupProgress } from './group-progress.tsx'
import { LaneActions, TenantActions, TroubleActions } from './lane-actions.tsx'
import { LanesByImpact } from './lanes-by-impact.tsx'
import { TenantsBy } from './tenants-by.tsx'

/** The most concerns shown, the worst first. */
const SHOWN_CONCERNS = 12
/** The most lines of each list beside the lanes. */
const SIDE_LINES = 5

export function OverviewView() {
  const { feed } = useApp()
  const overview = feed.overview.value
  // Lanes reveal other tenants.
  const isOfAll = feed.caller.value?.reads_all === true
  if (overview === null) return <Loading />
  return (
    <>
      <h1 class="unseen">Overview</h1>
      <Totals overview={overview} />
      <div class="columns overview">
        <div>
          <Attention overview={overview} />
        </div>
        {isOfAll ? <LanesByImpact all={overview.lanes} /> : null}
        <aside aria-label="In short">
          <TenantsBy overview={overview} />
          <Failures overview={overview} />
          <Progress overview={overview} />
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
  const budget = sum(tenants.map((tenant) => tenant.budget_usd_per_day ?? 0))
  const throttled = sum(lanes.map((lane) => lane.throttled))
  // The count can fall below the first one when a lane disappears.
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
        note={
          budget > 0
            ? `+ ${formatUsd(reserved)} reserved, of ${formatUsd(budget)} in budgets`
            : `${formatUsd(reserved)} reserved, since 0:00 UTC`
        }
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
          {concerns.slice(0, SHOWN_CONCERNS).map((concern) => (
            <li key={concern.id} class={`concern ${concern.tone}`}>
              <b>
                <Subject concern={concern} />
              </b>{' '}
              <span class="muted">{concern.text}</span> <ConcernAction concern={concern} />
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

function Subject({ concern: { subject, kind } }: { concern: Concern }) {
  if (kind === 'lane') return <a href={linkToLane(subject)}>{subject}</a>
  if (kind === 'tenant') return <a href={linkToJobs({ tenant: subject })}>{subject}</a>
  return <>{subject}</>
}

/** The link or buttons for what to do about a concern. */
function ConcernAction({ concern: { action } }: { concern: Concern }) {
  const link = (href: string, text: string) => (
    <a class="action" href={href}>
      {text}
    </a>
  )
  switch (action.kind) {
    case 'pause-lanes':
      return <TroubleActions trouble={action.trouble} />
    case 'lane':
      return <LaneActions lane={action.lane} />
    case 'cancel':
      return link(linkToJobs({ tenant: action.tenant, status: 'queued' }), 'See or cancel its jobs')
    case 'tenant':
      return <TenantActions tenant={action.tenant} />
    case 'budget':
      return link('#/budgets', 'See budgets')
    case 'price':
      return <span class="note">Set `price` of the model in sluice.yaml.</span>
    case 'history':
      return <span class="note">Look at the database of `history.url`; the log says what is wrong.</span>
  }
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

/** The most frequent errors of failed jobs, over all lanes and tenants. */
function Failures({ overview }: { overview: Overview }) {
  const failures = sumFailures(overview.failures).slice(0, SIDE_LINES)
  if (failures.length === 0) return null
  return (
    <section class="panel" aria-labelledby="failures">
      <h2 id="failures">
        <a href="#/failures">Failed</a> <span class="muted">by error</span>
      </h2>
      <ul class="lines">
        {failures.map(({ code, count, lanes, tenants }) => (
          <li key={code} class="failure-line">
            <a href={linkToList('failures', { code })}>
              <code>{code}</code>
            </a>
            <span class="num right">{countOf(count, 'job')}</span>
            <span class="muted note breakable" title={`${lanes.join(', ')}; ${tenants.join(', ')}`}>
              {lanes.length === 1 ? lanes[0] : countOf(lanes.length, 'lane')},{' '}
              {tenants.length === 1 ? tenants[0] : countOf(tenants.length, 'tenant')}
            </span>
          </li>
        ))}
      </ul>
    </section>
  )
}
