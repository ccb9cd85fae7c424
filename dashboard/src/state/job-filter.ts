import type { Job } from '../wire.ts'
import { toQuery } from './query.ts'

/** Query parameters of the address that filter the list of jobs. An empty text is no filter. */
export const filterNames = [
  'tenant',
  'status',
  'lane',
  'group',
  'error',
  'model',
  'cost',
  'metadata',
  'from',
  'to',
  'sort',
  'after',
] as const

/**
 * Which jobs to list.
 * `cost`: the least that a job cost, USD. `metadata`: pairs `name=value` joined by `&`. `from`, `to`: times of creation, RFC 3339.
 * `sort`: the name of a column, with `-` before it for descending order.
 * `after`: the cursors of all pages up to this one, joined by commas; for sorted jobs the number of the page, 1 for the second.
 */
export type JobFilter = Record<(typeof filterNames)[number], string>

export const noFilter = Object.fromEntries(filterNames.map((name) => [name, ''])) as JobFilter

/** Parameters of `GET /v1/jobs` and `GET /v1/jobs/all`. */
export function toJobQuery(
  filter: JobFilter,
  { limit, after }: { limit: number; after: string | undefined },
): string {
  const { status, lane, group, error, model, cost, metadata, from, to } = filter
  return toQuery({
    ...{ status, lane, group, model, after },
    error_code: error,
    min_cost_usd: cost,
    created_after: from,
    created_before: to,
    limit: String(limit),
    ...Object.fromEntries(readPairs(metadata).map(([name, value]) => [`metadata.${name}`, value])),
  })
}

function readPairs(text: string): [string, string][] {
  return text
    .split('&')
    .map((pair) => pair.trim())
    .filter((pair) => pair !== '')
    .map((pair) => {
      const equals = pair.indexOf('=')
      return equals < 0 ? [pair, ''] : [pair.slice(0, equals).trim(), pair.slice(equals + 1).trim()]
    })
}

/** Says what is wrong with the text; null: nothing. */
export function checkPairs(text: string): string | null {
  const bad = readPairs(text).find(([name, value]) => name === '' || value === '')
  return bad === undefined ? null : 'Write a pair as name=value; put & between several.'
}

/** True if the filter uses parameters that actions on many jobs do not have. */
function isNarrowed({ error, model, cost, metadata, from, to }: JobFilter): boolean {
  return [error, model, cost, metadata, from, to].some((value) => value !== '')
}

export const isFiltered = (filter: JobFilter): boolean =>
  [filter.status, filter.lane, filter.group].some((value) => value !== '') || isNarrowed(filter)

/** An action on all jobs that a filter matches. */
export type BulkAction = 'cancel' | 'retry'

/** The parameters that each action understands, and those that do not filter (`sort`, `after`). */
const known: Record<BulkAction, readonly (keyof JobFilter)[]> = {
  cancel: ['tenant', 'status', 'lane', 'group', 'from', 'to', 'sort', 'after'],
  retry: ['tenant', 'status', 'lane', 'group', 'error', 'sort', 'after'],
}

/** Finds the filters in use that the action does not understand: with them it would take more jobs than are shown. */
export function findUnsupported(action: BulkAction, filter: JobFilter): (keyof JobFilter)[] {
  return filterNames.filter((name) => filter[name] !== '' && !known[action].includes(name))
}

const keys = {
  status: ({ status }: Job) => status,
  lane: ({ lane }: Job) => lane,
  calls: ({ attempts }: Job) => attempts,
  tokens: ({ usage }: Job) => usage?.total_tokens ?? -1,
  cost: ({ cost_usd: cost }: Job) => cost ?? -1,
  created: ({ created_at: at }: Job) => at,
} as const
export type SortKey = keyof typeof keys

export const isSorted = ({ sort }: JobFilter): boolean => Object.hasOwn(keys, sort.replace(/^-/, ''))

/** Sorts jobs by a column. An unknown column keeps their order. */
export function sortJobs<One extends Job>(jobs: readonly One[], sort: string): One[] {
  const name = sort.replace(/^-/, '')
  if (!Object.hasOwn(keys, name)) return [...jobs]
  const key = keys[name as SortKey]
  const turn = sort.startsWith('-') ? -1 : 1
  return jobs.toSorted((one, other) => {
    const [a, b] = [key(one), key(other)]
    return a < b ? -turn : a > b ? turn : 0
  })
}

/** The next `sort` when a column's header is pressed: descending, then ascending, then unsorted. */
export function nextSort(sort: string, key: SortKey): string {
  return sort === `-${key}` ? key : sort === key ? '' : `-${key}`
}

export function sortOf(sort: string, key: SortKey): 'ascending' | 'descending' | 'none' {
  return sort === key ? 'ascending' : sort === `-${key}` ? 'descending' : 'none'
}
