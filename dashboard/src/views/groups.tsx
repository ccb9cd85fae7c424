import { useState } from 'preact/hooks'
import { Chip } from '../components/chip.tsx'
import { Empty, Loading } from '../components/empty.tsx'
import { FailureText } from '../components/failure.tsx'
import { Parts } from '../components/gauge.tsx'
import { Table } from '../components/table.tsx'
import { Expected, Time } from '../components/time.tsx'
import { formatCostSum, formatCount, nothing, shortenId, toWords } from '../format.ts'
import { useApp } from '../state/app.ts'
import type { Tone } from '../state/lane-health.ts'
import { mergeLive } from '../state/live-lists.ts'
import { descending } from '../state/owned-lists.ts'
import { type FilterOf, linkToJobs, linkToList } from '../state/route.ts'
import { useOwned } from '../state/use-owned.ts'
import type { Batch, Group, Overview } from '../wire.ts'
import { GroupBar } from './group-progress.tsx'
import { MoreButton, TenantChoice } from './owned-list.tsx'

/** Time between two reads of a list, ms. */
const READ_EVERY_MS = 10_000
/** The overview has this many groups and this many batches. */
const IN_OVERVIEW = 20

const lastChanged = descending<Omit<Group, 'tenant'>>((group) => group.updated_at)
const newest = descending<Omit<Batch, 'tenant'>>((batch) => Number(batch.created_at))

/** Groups and batches: their progress, and when they will be done. */
export function GroupsView({ filter: { tenant } }: { filter: FilterOf<'groups'> }) {
  const overview = useApp().feed.overview.value
  if (overview === null) return <Loading />
  return (
    <>
      <div class="page-head">
        <h1>Groups and batches</h1>
        <p class="muted">The groups that changed last and the newest batches; open ones first.</p>
      </div>
      <search class="filters" aria-label="Filter groups and batches">
        <TenantChoice
          tenant={tenant}
          onChange={(chosen) => {
            location.hash = linkToList('groups', { tenant: chosen })
          }}
        />
      </search>
      <Groups key={`groups ${tenant}`} tenant={tenant} overview={overview} />
      <Batches key={`batches ${tenant}`} tenant={tenant} overview={overview} />
    </>
  )
}

type Shown = { tenant: string; overview: Overview }

/**
 * Shows the entries of the overview at first. If you ask for more or for one tenant, it reads the lists.
 *
 * @param asked.known the overview's entries, of all tenants
 */
function useMore<Entry extends { tenant: string; estimated_finish_at: string | null }>(asked: {
  path: string
  tenant: string
  known: readonly Entry[]
  order: (one: Omit<Entry, 'tenant'>, other: Omit<Entry, 'tenant'>) => number
  identify: (entry: Entry) => string
  isOpen: (entry: Entry) => boolean
}) {
  const { path, tenant, known, order, identify, isOpen } = asked
  const [wantsMore, setWantsMore] = useState(false)
  const isEnough = tenant === '' && !wantsMore
  const list = useOwned({ path: isEnough ? null : path, tenant, everyMs: READ_EVERY_MS, order })
  const entries = isEnough ? known : list.found?.map(({ tenant, entry }) => ({ tenant, ...entry }) as Entry)
  const shown = entries && mergeLive(entries, { known, identify, isOpen })
  return {
    shown: shown ?? null,
    failure: list.failure,
    hasMore: isEnough ? known.length >= IN_OVERVIEW : list.hasMore,
    showMore: isEnough ? () => setWantsMore(true) : list.showMore,
  }
}

const openOf = ({ counts }: Group) => counts.scheduled + counts.queued + counts.running

function Groups({ tenant, overview }: Shown) {
  const { shown, failure, hasMore, showMore } = useMore<Group>({
    path: '/v1/groups',
    ...{ tenant, known: overview.groups, order: lastChanged },
    identify: (group) => `${group.tenant} ${group.group}`,
    isOpen: (group) => openOf(group) > 0,
  })
  if (shown === null) return failure === null ? <Loading /> : <FailureText text={failure} />
  if (shown.length === 0) {
    return (
      <Empty title="There are no groups.">
        <p>
          Jobs that are created with the same <code>"group"</code> are counted together here.
        </p>
      </Empty>
    )
  }
  return (
    <>
      <FailureText text={failure} />
      <section class="panel">
        <GroupTable groups={shown} />
      </section>
      {hasMore ? <MoreButton what="groups" onPress={showMore} /> : null}
    </>
  )
}

function GroupTable({ groups }: { groups: readonly Group[] }) {
  return (
    <Table
      caption="Groups"
      isCaptionShown
      head={[
        { name: 'Group' },
        { name: 'Tenant' },
        { name: 'Progress' },
        { name: 'Completed', isNumber: true },
        { name: 'Open', isNumber: true },
        { name: 'Failed', isNumber: true },
        { name: 'Cost', isNumber: true },
        { name: 'Done' },
        { name: 'Last change' },
      ]}
    >
      {groups.map((one) => {
        const { tenant, group, total, counts, estimated_finish_at, updated_at, ...cost } = one
        const open = openOf(one)
        return (
          <tr key={`${tenant} ${group}`}>
            <th scope="row" class="clip" title={group}>
              <a href={linkToJobs({ tenant, group })}>{group}</a>
            </th>
            <td>{tenant}</td>
            <td class="wide-bar">
              <GroupBar label={group} counts={counts} total={total} />
            </td>
            <td class="num right">
              {formatCount(counts.completed)} of {formatCount(total)}
            </td>
            <td class="num right">{formatCount(open)}</td>
            <td class="num right">
              {counts.failed === 0 ? (
                '0'
              ) : (
                <a href={linkToJobs({ tenant, group, status: 'failed' })}>{formatCount(counts.failed)}</a>
              )}
            </td>
            <td class="num right">{formatCostSum(cost)}</td>
            <td class="num">
              {open === 0 ? 'all ended' : <Expected at={estimated_finish_at} late={nothing} />}
            </td>
            <td class="num">
              <Time at={updated_at} />
            </td>
          </tr>
        )
      })}
    </Table>
  )
}

const batchTones: Record<string, Tone> = {
  completed: 'good',
  failed: 'bad',
  expired: 'bad',
  cancelled: 'warn',
  cancelling: 'warn',
}

const ended = ['completed', 'failed', 'expired', 'cancelled']

function Batches({ tenant, overview }: Shown) {
  const { shown, failure, hasMore, showMore } = useMore<Batch>({
    path: '/v1/batches',
    ...{ tenant, known: overview.batches, order: newest },
    identify: ({ id }) => id,
    isOpen: ({ status }) => !ended.includes(status),
  })
  if (shown === null) return failure === null ? <Loading /> : <FailureText text={failure} />
  if (shown.length === 0) {
    return (
      <Empty title="There are no batches.">
        <p>
          <code>POST /v1/batches</code> with a file of requests makes one, as an OpenAI SDK does.
        </p>
      </Empty>
    )
  }
  return (
    <>
      <FailureText text={failure} />
      <section class="panel">
        <BatchTable batches={shown} />
      </section>
      {hasMore ? <MoreButton what="batches" onPress={showMore} /> : null}
    </>
  )
}

function BatchTable({ batches }: { batches: readonly Batch[] }) {
  return (
    <Table
      caption="Batches"
      isCaptionShown
      head={[
        { name: 'Batch' },
        { name: 'Tenant' },
        { name: 'Status' },
        { name: 'Progress' },
        { name: 'Completed', isNumber: true },
        { name: 'Failed', isNumber: true },
        { name: 'Done' },
        { name: 'Created' },
      ]}
    >
      {batches.map(({ tenant, id, status, created_at, request_counts: counts, estimated_finish_at }) => (
        <tr key={id}>
          <th scope="row" title={id}>
            <a href={linkToJobs({ tenant, group: id })}>{shortenId(id)}</a>
          </th>
          <td>{tenant}</td>
          <td>
            <Chip tone={batchTones[status] ?? 'info'} label={toWords(status)} />
          </td>
          <td class="wide-bar">
            <Parts
              label={id}
              total={counts.total}
              parts={[
                { name: 'completed', count: counts.completed, tone: 'good' },
                { name: 'failed', count: counts.failed, tone: 'bad' },
              ]}
            />
          </td>
          <td class="num right">
            {formatCount(counts.completed)} of {formatCount(counts.total)}
          </td>
          <td class="num right">{formatCount(counts.failed)}</td>
          <td class="num">
            {ended.includes(status) ? 'ended' : <Expected at={estimated_finish_at} late={nothing} />}
          </td>
          <td class="num">
            <Time at={typeof created_at === 'number' ? created_at * 1_000 : created_at} />
          </td>
        </tr>
      ))}
    </Table>
  )
}
