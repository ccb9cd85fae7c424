import { useEffect, useRef } from 'preact/hooks'
import { Loading } from '../components/empty.tsx'
import { Icon } from '../components/icon.tsx'
import { formatCount } from '../format.ts'
import { type App, type Theme, useApp } from '../state/app.ts'
import { findConcerns } from '../state/attention.ts'
import type { Route } from '../state/route.ts'
import type { Overview } from '../wire.ts'
import { BudgetsView } from './budgets.tsx'
import { Banner, Connection } from './connection.tsx'
import { DurableRunView } from './durable-run.tsx'
import { DurableRunsView } from './durable-runs.tsx'
import { FailuresView } from './failures.tsx'
import { FilesView } from './files.tsx'
import { FindJob } from './find-job.tsx'
import { FlowView } from './flow.tsx'
import { FlowsView } from './flows.tsx'
import { GroupsView } from './groups.tsx'
import { JobsView } from './jobs.tsx'
import { KeyPrompt } from './key-prompt.tsx'
import { LaneView } from './lane.tsx'
import { OverviewView } from './overview.tsx'
import { PlaygroundView } from './playground.tsx'
import { ProviderBatchesView } from './provider-batches.tsx'
import { SchedulesView } from './schedules.tsx'
import { TenantsView } from './tenants.tsx'
import { UsageView } from './usage.tsx'
import { WebhooksView } from './webhooks.tsx'

/** The navigation. `isOfAll`: only for keys that see all tenants. `acts`: only for keys that may create jobs. */
const views: { href: string; name: string; of: Route['view'][]; isOfAll?: true; acts?: true }[] = [
  { href: '#/', name: 'Overview', of: ['overview', 'lane'] },
  { href: '#/tenants', name: 'Tenants', of: ['tenants'], isOfAll: true },
  { href: '#/budgets', name: 'Budgets', of: ['budgets'], isOfAll: true },
  { href: '#/groups', name: 'Groups', of: ['groups'] },
  { href: '#/jobs', name: 'Jobs', of: ['jobs', 'job'] },
  { href: '#/flows', name: 'Flows', of: ['flows', 'flow'] },
  { href: '#/durable', name: 'Durable runs', of: ['durable', 'durable-run'] },
  { href: '#/schedules', name: 'Schedules', of: ['schedules'] },
  { href: '#/provider-batches', name: 'Provider batches', of: ['provider-batches'], isOfAll: true },
  { href: '#/files', name: 'Files', of: ['files'] },
  { href: '#/failures', name: 'Failures', of: ['failures'] },
  { href: '#/webhooks', name: 'Webhooks', of: ['webhooks'] },
  { href: '#/usage', name: 'Usage', of: ['usage'] },
  { href: '#/playground', name: 'Playground', of: ['playground'], acts: true },
]

/** The frame of the page: navigation, the current view, and the state of the connection. */
export function Shell() {
  const app = useApp()
  const route = app.route.value
  const main = useRef<HTMLElement>(null)
  const nav = useRef<HTMLElement>(null)
  const isFirst = useRef(true)
  const place = JSON.stringify('filter' in route || 'choice' in route ? route.view : route)
  const title = nameRoute(route)
  const isLocked = app.asksForKey.value || isForbidden(app)
  // A user whose key is no longer valid sees no earlier data.
  const overview = isLocked ? null : app.feed.overview.value
  const caller = app.feed.caller.value
  const shown = views.filter(
    ({ isOfAll, acts }) =>
      (!isOfAll || caller === null || caller.reads_all) && (!acts || caller === null || app.may('jobs')),
  )
  const concerns = overview === null ? 0 : findConcerns(overview).length

  // Only a change of the view moves the focus.
  useEffect(() => {
    if (!isFirst.current) {
      main.current?.focus({ preventScroll: true })
      window.scrollTo(0, 0)
    }
    isFirst.current = false
  }, [place])
  // On a narrow page the navigation scrolls. This keeps the current view's name visible.
  useEffect(() => {
    const link = nav.current?.querySelector<HTMLElement>('[aria-current]')
    if (link) nav.current!.scrollLeft = link.offsetLeft - nav.current!.clientWidth / 2 + link.offsetWidth / 2
  }, [route.view, caller === null])
  useEffect(() => {
    document.title = `${concerns > 0 ? `(${concerns}) ` : ''}${title} · Sluice`
  }, [title, concerns])

  return (
    <>
      <button type="button" class="skip" onClick={() => main.current?.focus()}>
        Skip to content
      </button>
      <header>
        <a class="brand" href="#/">
          <svg viewBox="0 0 32 32" aria-hidden="true">
            <path d="M9 6v20M23 6v20M13 11h6M13 19c2-2.4 4 2.4 6 0M13 24c2-2.4 4 2.4 6 0" />
          </svg>
          Sluice
        </a>
        <nav ref={nav} aria-label="Views">
          {shown.map(({ href, name, of }) => (
            <a key={name} href={href} aria-current={of.includes(route.view) ? 'page' : undefined}>
              {name}
              {name === 'Failures' ? <FailedCount overview={overview} /> : null}
            </a>
          ))}
        </nav>
        <div class="tools">
          <Connection />
          <ThemeButton />
          {app.key.value === null ? null : (
            <button type="button" class="quiet" onClick={() => app.enterKey(null)}>
              <Icon name="key" /> Forget key
            </button>
          )}
        </div>
      </header>
      <Banner />
      <main ref={main} tabIndex={-1} aria-label={title}>
        {isLocked ? <KeyPrompt /> : caller === null ? <Loading /> : <View route={route} />}
      </main>
      <Notices />
      <div class="unseen" aria-live="polite">
        {app.announcement.value}
      </div>
    </>
  )
}

function isForbidden({ feed }: App): boolean {
  const { value } = feed.connection
  return value.kind === 'refused' && value.status === 403
}

function View({ route }: { route: Route }) {
  switch (route.view) {
    case 'overview':
      return <OverviewView />
    case 'lane':
      return <LaneView key={route.id} id={route.id} />
    case 'tenants':
      return <TenantsView />
    case 'budgets':
      return <BudgetsView filter={route.filter} />
    case 'groups':
      return <GroupsView filter={route.filter} />
    case 'jobs':
      return <JobsView filter={route.filter} />
    case 'job':
      return <FindJob key={`${route.tenant} ${route.id}`} id={route.id} tenant={route.tenant} />
    case 'flows':
      return <FlowsView filter={route.filter} />
    case 'flow':
      return <FlowView key={`${route.tenant} ${route.id}`} id={route.id} tenant={route.tenant} />
    case 'durable':
      return <DurableRunsView filter={route.filter} />
    case 'durable-run':
      return <DurableRunView key={`${route.tenant} ${route.id}`} id={route.id} tenant={route.tenant} />
    case 'schedules':
      return <SchedulesView filter={route.filter} />
    case 'provider-batches':
      return <ProviderBatchesView />
    case 'usage':
      return <UsageView filter={route.filter} />
    case 'webhooks':
      return <WebhooksView filter={route.filter} />
    case 'playground':
      return <PlaygroundView choice={route.choice} />
    case 'files':
      return <FilesView filter={route.filter} />
    case 'failures':
      return <FailuresView filter={route.filter} />
    default:
      return (
        <>
          <h1>Nothing here</h1>
          <p>
            This address names no view. <a href="#/">Go to the overview.</a>
          </p>
        </>
      )
  }
}

function nameRoute(route: Route): string {
  if ('id' in route) return route.id
  return views.find(({ of }) => of.includes(route.view))?.name ?? 'Nothing here'
}

function FailedCount({ overview }: { overview: Overview | null }) {
  const failed = overview?.tenants.reduce((sum, { counts }) => sum + counts.failed, 0) ?? 0
  return failed === 0 ? null : <span class="badge num">{formatCount(failed)}</span>
}

const nextTheme: Record<Theme, Theme> = { auto: 'light', light: 'dark', dark: 'auto' }
const themeNames: Record<Theme, string> = { auto: 'as the system', light: 'light', dark: 'dark' }

function ThemeButton() {
  const { theme } = useApp()
  const name = themeNames[theme.value]
  return (
    <button
      type="button"
      class="quiet square"
      title={`Colours: ${name}`}
      aria-label={`Colours: ${name}. Change`}
      onClick={() => {
        theme.value = nextTheme[theme.value]
      }}
    >
      <Icon name={theme.value} />
    </button>
  )
}

function Notices() {
  const app = useApp()
  return (
    <div class="notices" role="status">
      {app.notices.value.map(({ id, tone, text }) => (
        <div key={id} class={`notice ${tone}`}>
          <span>{text}</span>
          <button type="button" class="quiet square" aria-label="Dismiss" onClick={() => app.dismiss(id)}>
            <Icon name="close" />
          </button>
        </div>
      ))}
    </div>
  )
}
