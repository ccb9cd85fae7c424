import { filterNames, type JobFilter } from './job-filter.ts'
import { toQuery } from './query.ts'

export type { JobFilter }
export { toQuery }

/** Views with a list, and the query parameters that filter it. An empty text is no filter. */
const filtered = {
  budgets: ['owner'],
  durable: ['tenant'],
  failures: ['tenant', 'lane', 'code'],
  files: ['tenant', 'purpose'],
  flows: ['tenant', 'status'],
  groups: ['tenant'],
  schedules: ['tenant'],
  // Days are UTC, `YYYY-MM-DD`; empty: the last 30.
  usage: ['tenant', 'from', 'to'],
  webhooks: ['tenant', 'status'],
} as const
type FilteredView = keyof typeof filtered
export type FilterOf<View extends FilteredView> = Record<(typeof filtered)[View][number], string>

export type Route =
  | { view: 'overview' }
  | { view: 'lane'; id: string }
  | { view: PlainView }
  | { view: 'jobs'; filter: JobFilter }
  | { view: 'job'; id: string; tenant: string | null }
  | { view: 'playground'; choice: PlaygroundChoice }
  | { view: 'flow' | 'durable-run'; id: string; tenant: string }
  | { [View in FilteredView]: { view: View; filter: FilterOf<View> } }[FilteredView]
  | { view: 'unknown' }

/** Views without parameters. */
const plainViews = ['tenants', 'provider-batches'] as const
type PlainView = (typeof plainViews)[number]
const isPlain = (view: string): view is PlainView => (plainViews as readonly string[]).includes(view)

/** The choices of the playground. An empty text stands for the page's default. */
export type PlaygroundChoice = { kind: 'chat' | 'embedding'; model: string; tenant: string }

/** Parses the hash of the address as a route. Never throws. */
export function parseRoute(hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#?\/?/, '').split('?', 2)
  const [view = '', ...rest] = path.split('/')
  const id = decode(rest.join('/'))
  const search = new URLSearchParams(query)
  if (view === '') return { view: 'overview' }
  if (view === 'lanes' && id !== '') return { view: 'lane', id }
  if (view === 'jobs' && id !== '') return { view: 'job', id, tenant: search.get('tenant') }
  if ((view === 'flows' || view === 'durable') && id !== '') {
    return { view: view === 'flows' ? 'flow' : 'durable-run', id, tenant: search.get('tenant') ?? '' }
  }
  const read = (name: string) => search.get(name) ?? ''
  const readAll = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, read(name)]))
  if (view === 'jobs') return { view, filter: readAll(filterNames) as JobFilter }
  if (view === 'playground') {
    const kind = read('kind') === 'embedding' ? 'embedding' : 'chat'
    return { view, choice: { kind, model: read('model'), tenant: read('tenant') } }
  }
  if (Object.hasOwn(filtered, view)) return { view, filter: readAll(filtered[view as FilteredView]) } as Route
  if (isPlain(view)) return { view }
  return { view: 'unknown' }
}

/** The address of a view with a list. */
export function linkToList<View extends FilteredView>(view: View, filter: Partial<FilterOf<View>>): string {
  return `#/${view}${toQuery(filter)}`
}

export function linkToLane(id: string): string {
  return `#/lanes/${encodeURIComponent(id)}`
}

export function linkToJob(id: string, tenant: string | null): string {
  return `#/jobs/${encodeURIComponent(id)}${toQuery({ tenant: tenant ?? '' })}`
}

export function linkToFlow(id: string, tenant: string): string {
  return `#/flows/${encodeURIComponent(id)}${toQuery({ tenant })}`
}

export function linkToDurableRun(id: string, tenant: string): string {
  return `#/durable/${encodeURIComponent(id)}${toQuery({ tenant })}`
}

export function linkToJobs(filter: Partial<JobFilter>): string {
  return `#/jobs${toQuery(filter)}`
}

export function linkToPlayground(choice: PlaygroundChoice): string {
  return `#/playground${toQuery(choice)}`
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
