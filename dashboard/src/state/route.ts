export type Route =
  | { view: 'overview' }
  | { view: 'lane'; id: string }
  | { view: 'tenants' }
  | { view: 'groups' }
  | { view: 'jobs'; filter: JobFilter }
  | { view: 'job'; id: string; tenant: string | null }
  | { view: 'failures' }
  | { view: 'schedules' }
  | { view: 'provider-batches' }
  | { view: 'budgets' }
  | { view: 'flows' }
  | { view: 'flow'; id: string; tenant: string }
  | { view: 'usage'; filter: UsageFilter }
  | { view: 'unknown' }

/** Empty texts are no filter. `after`: the ids after which each page up to this one begins, with commas. */
export type JobFilter = { tenant: string; status: string; lane: string; group: string; after: string }

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
    const read = (name: string) => search.get(name) ?? ''
    const filter = {
      tenant: read('tenant'),
      status: read('status'),
      lane: read('lane'),
      group: read('group'),
      after: read('after'),
    }
    return { view: 'jobs', filter }
  }
  if (view === 'usage') {
    const read = (name: string) => search.get(name) ?? ''
    return { view, filter: { tenant: read('tenant'), from: read('from'), to: read('to') } }
  }
  if (view === 'tenants' || view === 'groups' || view === 'failures' || view === 'schedules') return { view }
  if (view === 'provider-batches' || view === 'budgets') return { view }
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

export function linkToUsage(filter: Partial<UsageFilter>): string {
  return `#/usage${toQuery(filter)}`
}

/** With the question mark; empty where every value is. */
export function toQuery(values: Record<string, string | undefined>): string {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(values)) if (value) search.set(name, value)
  const text = search.toString()
  return text === '' ? '' : `?${text}`
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
