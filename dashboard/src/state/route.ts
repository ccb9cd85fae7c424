import { filterNames, type JobFilter } from './job-filter.ts'
import { toQuery } from './query.ts'

export type { JobFilter }
export { toQuery }

export type Route =
  | { view: 'overview' }
  | { view: 'lane'; id: string }
  | { view: PlainView }
  | { view: 'jobs'; filter: JobFilter }
  | { view: 'job'; id: string; tenant: string | null }
  | { view: 'failures'; filter: FailureFilter }
  | { view: 'files'; filter: FileFilter }
  | { view: 'webhooks'; filter: WebhookFilter }
  | { view: 'playground'; choice: PlaygroundChoice }
  | { view: 'flows' }
  | { view: 'flow'; id: string; tenant: string }
  | { view: 'usage'; filter: UsageFilter }
  | { view: 'unknown' }

/** Views whose address has nothing but their name. */
const plainViews = ['tenants', 'budgets', 'groups', 'schedules', 'provider-batches'] as const
type PlainView = (typeof plainViews)[number]
const isPlain = (view: string): view is PlainView => (plainViews as readonly string[]).includes(view)

/** Empty texts are no filter. */
export type FailureFilter = { tenant: string; lane: string; code: string }
export type WebhookFilter = { tenant: string; status: string }
export type FileFilter = { tenant: string; purpose: string }

/** What is sent. Empty texts: as the page has it at first. */
export type PlaygroundChoice = { kind: 'chat' | 'embedding'; model: string; tenant: string }

/** Days are UTC, `YYYY-MM-DD`; empty: the last 30. No tenant: all that the key may see. */
export type UsageFilter = { tenant: string; from: string; to: string }

/** Parses the hash of the address as a route. Never throws. */
export function parseRoute(hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#?\/?/, '').split('?', 2)
  const [view = '', ...rest] = path.split('/')
  const id = decode(rest.join('/'))
  const search = new URLSearchParams(query)
  if (view === '') return { view: 'overview' }
  if (view === 'lanes' && id !== '') return { view: 'lane', id }
  if (view === 'jobs' && id !== '') return { view: 'job', id, tenant: search.get('tenant') }
  if (view === 'flows' && id !== '') return { view: 'flow', id, tenant: search.get('tenant') ?? '' }
  if (view === 'flows') return { view }
  if (view === 'jobs') {
    const filter = Object.fromEntries(filterNames.map((name) => [name, search.get(name) ?? ''])) as JobFilter
    return { view: 'jobs', filter }
  }
  const read = (name: string) => search.get(name) ?? ''
  if (view === 'usage') {
    return { view, filter: { tenant: read('tenant'), from: read('from'), to: read('to') } }
  }
  if (view === 'failures') {
    return { view, filter: { tenant: read('tenant'), lane: read('lane'), code: read('code') } }
  }
  if (view === 'files') return { view, filter: { tenant: read('tenant'), purpose: read('purpose') } }
  if (view === 'webhooks') return { view, filter: { tenant: read('tenant'), status: read('status') } }
  if (view === 'playground') {
    const kind = read('kind') === 'embedding' ? 'embedding' : 'chat'
    return { view, choice: { kind, model: read('model'), tenant: read('tenant') } }
  }
  if (isPlain(view)) return { view }
  return { view: 'unknown' }
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

export function linkToJobs(filter: Partial<JobFilter>): string {
  return `#/jobs${toQuery(filter)}`
}

export function linkToPlayground(choice: PlaygroundChoice): string {
  return `#/playground${toQuery(choice)}`
}

export function linkToUsage(filter: Partial<UsageFilter>): string {
  return `#/usage${toQuery(filter)}`
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
