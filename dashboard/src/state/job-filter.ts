import type { Job } from '../wire.ts'
import { toQuery } from './query.ts'

/** Members of the address that say which jobs are listed. Empty texts are no filter. */
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
 * Which jobs. `cost`: USD that each cost at the least. `metadata`: pairs `name=value`, with `&` between them. `from`, `to`: when they were created, RFC 3339. `sort`: the name of a
 * column, with `-` before it for the most first. `after`: the cursors after which each page up to this one begins, with commas; of
 * sorted jobs the number of the page, 1 for the second.
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

/** What is wrong with what was typed; null: nothing. */
export function checkPairs(text: string): string | null {
  const bad = readPairs(text).find(([name, value]) => name === '' || value === '')
  return bad === undefined ? null : 'Write a pair as name=value; put & between several.'
}

/** True where more is asked than actions on many jobs know of. */
function isNarrowed({ error, model, cost, metadata, from, to }: JobFilter): boolean {
  return [error, model, cost, metadata, from, to].some((value) => value !== '')
}

export const isFiltered = (filter: JobFilter): boolean =>
  [filter.status, filter.lane, filter.group].some((value) => value !== '') || isNarrowed(filter)

/** What can be done with all jobs that a filter names. */
export type BulkAction = 'cancel' | 'retry'

/** Members that each action knows, and those that choose no jobs. */
const known: Record<BulkAction, readonly (keyof JobFilter)[]> = {
  cancel: ['tenant', 'status', 'lane', 'group', 'from', 'to', 'sort', 'after'],
  retry: ['tenant', 'status', 'lane', 'group', 'error', 'sort', 'after'],
}

/** What the filter is narrowed by that the action does not know: it would take more jobs than are shown. */
export function findStrange(action: BulkAction, filter: JobFilter): (keyof JobFilter)[] {
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

/** By a column; as they come without one that is known. */
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

/** The next one when the column is pressed: the most first, then the least, then as they come. */
export function turnSort(sort: string, key: SortKey): string {
  return sort === `-${key}` ? key : sort === key ? '' : `-${key}`
}

export function sortOf(sort: string, key: SortKey): 'ascending' | 'descending' | 'none' {
  return sort === key ? 'ascending' : sort === `-${key}` ? 'descending' : 'none'
}
