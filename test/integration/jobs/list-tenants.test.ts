import { describe, expect, it } from 'vitest'
import type { Job } from '../../../jobs/job.ts'
import type { JobFilter, JobPlace } from '../../../jobs/jobs.ts'
import { findTenantOfJob, listOfTenants } from '../../../jobs/list-tenants.ts'
import { newJob, openTestStore, type TestStore } from '../../helpers/store.ts'

const tenants = ['acme', 'birch', 'cedar', 'empty']

/** Jobs of three tenants in turn, some of them equal: many share a millisecond. */
async function fill(store: TestStore): Promise<void> {
  for (let turn = 0; turn < 12; turn++) {
    await store.jobs.createMany(
      ['acme', 'birch', 'acme', 'cedar'].map((tenant, index) =>
        newJob(
          {
            tenant,
            cache: 'off',
            ...(index === 2 ? {} : { group: turn % 3 === 0 ? 'third' : 'other' }),
            metadata: { turn: String(turn % 4) },
          },
          `job ${turn} ${index}`,
        ),
      ),
    )
  }
}

async function readAll(store: TestStore): Promise<(Job & { tenant: string })[]> {
  const lists = await Promise.all(
    tenants.map(async (tenant) =>
      (await store.jobs.list(tenant, {}, 1000)).data.map((job) => ({ ...job, tenant })),
    ),
  )
  return lists.flat().sort((one, other) => {
    const [a, b] = [Date.parse(one.created_at), Date.parse(other.created_at)]
    return b - a || (one.id < other.id ? 1 : -1)
  })
}

type Walk = { limit: number; mostScanned?: number }

/** Walks all pages and answers the ids in their order. */
async function walk(store: TestStore, filter: JobFilter, { limit, ...options }: Walk): Promise<string[]> {
  const ids: string[] = []
  let from: JobPlace | undefined
  for (let pages = 0; pages < 200; pages++) {
    const page = await listOfTenants(store.jobs.list, tenants, filter, limit, { from, ...options })
    expect(page.data.length).toBeLessThanOrEqual(limit)
    ids.push(...page.data.map(({ tenant, job }) => `${tenant} ${job.id}`))
    if (!page.hasMore) return ids
    if (page.scanned === null) expect(page.data).toHaveLength(limit)
    from = page.end!
  }
  throw new Error('the list has no end')
}

describe('the jobs of several tenants', () => {
  it('come in one order, each once, for every filter and however little a page may look at', async () => {
    const store = await openTestStore()
    await fill(store)
    const all = await readAll(store)
    expect(all).toHaveLength(48)
    const middle = Date.parse(all[24]!.created_at)
    const cases: [JobFilter, (job: Job) => boolean][] = [
      [{}, () => true],
      [{ group: 'third' }, ({ group }) => group === 'third'],
      [{ metadata: { turn: '2' } }, ({ metadata }) => metadata.turn === '2'],
      [
        { group: 'other', metadata: { turn: '1' } },
        (job) => job.group === 'other' && job.metadata.turn === '1',
      ],
      [{ createdBefore: middle }, ({ created_at }) => Date.parse(created_at) < middle],
      [{ createdAfter: middle }, ({ created_at }) => Date.parse(created_at) >= middle],
      [{ lane: 'sim/nothing' }, () => false],
    ]
    for (const [filter, matches] of cases) {
      const wanted = all.filter(matches).map(({ tenant, id }) => `${tenant} ${id}`)
      for (const options of [{ limit: 1000 }, { limit: 7 }, { limit: 1 }, { limit: 5, mostScanned: 8 }]) {
        expect(await walk(store, filter, options), JSON.stringify({ filter, options })).toEqual(wanted)
      }
    }
  })

  it('go on where a page stopped though its last job has been deleted since', async () => {
    const store = await openTestStore()
    await fill(store)
    const all = await readAll(store)
    const page = await listOfTenants(store.jobs.list, tenants, {}, 10, {})
    const { tenant, job } = page.data.at(-1)!
    await store.jobs.remove(tenant, job.id)
    const next = await listOfTenants(store.jobs.list, tenants, {}, 10, { from: page.end! })
    expect(next.data.map(({ job }) => job.id)).toEqual(all.slice(10, 20).map(({ id }) => id))
  })

  it('are found by their id alone', async () => {
    const store = await openTestStore()
    await fill(store)
    for (const { tenant, id } of (await readAll(store)).slice(0, 6)) {
      expect(await findTenantOfJob(store.jobs.statuses, tenants, id)).toBe(tenant)
    }
    expect(await findTenantOfJob(store.jobs.statuses, tenants, 'job_nothing')).toBeNull()
    const away = new Error('the database is away')
    const statuses: typeof store.jobs.statuses = async (tenant, ids) => {
      if (tenant === 'acme') throw away
      return store.jobs.statuses(tenant, ids)
    }
    const { id } = (await readAll(store)).find(({ tenant }) => tenant === 'cedar')!
    expect(await findTenantOfJob(statuses, tenants, id)).toBe('cedar')
    await expect(findTenantOfJob(statuses, tenants, 'job_nothing')).rejects.toBe(away)
  })
})
