import type { Job } from './job.ts'
import type { JobFilter, JobPlace, Jobs } from './jobs.ts'

/** Most jobs that one page looks at over all tenants, roughly. */
const MOST_SCANNED = 10_000

/** Jobs of each tenant that are looked at first, and in each further step. */
const FIRST_SCANNED = { least: 10, most: 500 }
const FURTHER_SCANNED = 500
/** At least this many jobs of each tenant are read first. */
const FIRST_READ = 4

/** Tenants that are read at once. */
const AT_ONCE = 32

/** A job, and the tenant that owns it. */
export type OwnedJob = { tenant: string; job: Job }

/**
 * `scanned`: about how many jobs were looked at, if the page is not full although there is more. `end`: where the next
 * page begins.
 */
export type TenantsPage = {
  data: OwnedJob[]
  hasMore: boolean
  end: JobPlace | null
  scanned: number | null
}

/** How far a tenant was read: all matching jobs up to `end` are known, or all there are. */
type Source = { tenant: string; end: JobPlace | null; isDone: boolean }
type Found = OwnedJob & { place: JobPlace }

/**
 * Lists the jobs of several tenants in one order, newest first. Each tenant's list is read only as far as the page
 * needs. The list that ends at the newest place is read on first, because nothing older can be shown before that.
 *
 * @param from the place after which the page begins
 * @param mostScanned about how many jobs to look at in all
 */
export async function listOfTenants(
  list: Jobs['list'],
  tenants: readonly string[],
  filter: JobFilter,
  limit: number,
  {
    from,
    signal,
    mostScanned = MOST_SCANNED,
  }: { from?: JobPlace | undefined; signal?: AbortSignal; mostScanned?: number },
): Promise<TenantsPage> {
  const sources = tenants.map((tenant): Source => ({ tenant, end: from ?? null, isDone: false }))
  const found: Found[] = []
  let scanned = 0

  async function readOn(some: readonly Source[], most: number, mostOfEach: number): Promise<void> {
    for (let at = 0; at < some.length && !signal?.aborted; at += AT_ONCE) {
      await Promise.all(
        some.slice(at, at + AT_ONCE).map(async (source) => {
          const { tenant, end } = source
          const page = await list(tenant, filter, most, {
            ...(end && { from: end }),
            mostScanned: mostOfEach,
            ...(signal && { signal }),
          })
          for (const job of page.data) found.push({ tenant, job, place: placeOf(job) })
          scanned += page.scanned ?? page.data.length
          if (page.hasMore && page.end !== null) source.end = page.end
          else source.isDone = true
        }),
      )
    }
    found.sort((one, other) => comparePlaces(one.place, other.place))
  }

  const share = Math.floor(mostScanned / 2 / Math.max(1, tenants.length))
  await readOn(
    sources,
    Math.min(limit, Math.max(FIRST_READ, Math.ceil((2 * limit) / Math.max(1, tenants.length)))),
    Math.min(FIRST_SCANNED.most, Math.max(FIRST_SCANNED.least, share)),
  )
  for (;;) {
    const open = sources.filter(({ isDone }) => !isDone)
    // Up to this place, all jobs are known.
    const horizon = open.map(({ end }) => end).sort(compareEnds)[0]
    const known =
      horizon === undefined
        ? found
        : found.filter(({ place }) => horizon !== null && comparePlaces(place, horizon) <= 0)
    if (known.length >= limit) {
      const shown = known.slice(0, limit)
      const hasMore = found.length > limit || open.length > 0
      return { data: shown.map(withoutPlace), hasMore, end: shown.at(-1)!.place, scanned: null }
    }
    if (horizon === undefined) {
      return {
        data: known.map(withoutPlace),
        hasMore: false,
        end: known.at(-1)?.place ?? null,
        scanned: null,
      }
    }
    if (scanned >= mostScanned || signal?.aborted) {
      return { data: known.map(withoutPlace), hasMore: true, end: horizon, scanned }
    }
    // Lists that may still have a job before the last one of a full page.
    const last = found[limit - 1]?.place
    const unfinished = open
      .filter(({ end }) => end === null || last === undefined || comparePlaces(end, last) < 0)
      .sort((one, other) => compareEnds(one.end, other.end))
    await readOn(unfinished.slice(0, AT_ONCE), limit, FURTHER_SCANNED)
  }
}

/** Negative: `one` comes first in lists, because it is newer. */
function comparePlaces(one: JobPlace, other: JobPlace): number {
  return other.createdAt - one.createdAt || (one.id < other.id ? 1 : one.id > other.id ? -1 : 0)
}

/** Null comes before everything. */
function compareEnds(one: JobPlace | null, other: JobPlace | null): number {
  if (one === null || other === null) return Number(one !== null) - Number(other !== null)
  return comparePlaces(one, other)
}

function placeOf({ id, created_at }: Job): JobPlace {
  return { createdAt: Date.parse(created_at), id }
}

function withoutPlace({ tenant, job }: Found): OwnedJob {
  return { tenant, job }
}

/**
 * Finds the tenant of a job. If the history of some tenant does not answer, that error is thrown unless another tenant
 * has the job.
 */
export async function findTenantOfJob(
  statuses: Jobs['statuses'],
  tenants: readonly string[],
  id: string,
): Promise<string | null> {
  const errors: unknown[] = []
  for (let at = 0; at < tenants.length; at += AT_ONCE) {
    const some = tenants.slice(at, at + AT_ONCE)
    const answers = await Promise.allSettled(some.map((tenant) => statuses(tenant, [id])))
    for (const [index, answer] of answers.entries()) {
      if (answer.status === 'rejected') errors.push(answer.reason)
      else if (answer.value[0] !== null) return some[index]!
    }
  }
  if (errors.length > 0) throw errors[0]
  return null
}
