import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { type Database, openDatabase } from '../../../history/database.ts'
import type { HistoryFilter, Place } from '../../../history/filter.ts'
import { createFinder, type Finder } from '../../../history/find.ts'
import type { FinishedJob } from '../../../history/finished-job.ts'
import { migrate } from '../../../history/migrate.ts'
import { keysOfFilter, type Scan, scanRows } from '../../../history/scan.ts'
import { createHistoryStore, type HistoryStore } from '../../../history/store.ts'
import { readUsage, TooManySumsError } from '../../../history/usage.ts'
import { addToUsage } from '../../../history/usage-sums.ts'
import { startTestPostgres, type TestPostgres } from '../../helpers/postgres.ts'

const DAY = 86_400_000
const AT = Date.parse('2026-11-30T12:00:00.000Z')

let folder: string
let postgres: TestPostgres

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-history-'))
  postgres = await startTestPostgres()
}, 60_000)

afterAll(async () => {
  await postgres.close()
  await rm(folder, { recursive: true, force: true })
})

let count = 0
const KINDS: [string, () => Promise<string>][] = [
  ['SQLite', async () => `sqlite:${join(folder, `${count++}.db`)}`],
  ['PostgreSQL', () => postgres.database(`history_${count++}`)],
]

describe.each(KINDS)('the history in %s', (name, place) => {
  let database: Database
  let store: HistoryStore
  let finder: Finder

  async function open(): Promise<void> {
    database = openDatabase(await place())
    await migrate(database)
    store = createHistoryStore(database)
    finder = createFinder(database)
  }

  beforeAll(open, 30_000)
  afterAll(() => database.close())

  test('is migrated once, by the first of several processes', async () => {
    const url = await place()
    const several = Array.from({ length: 6 }, () => openDatabase(url))
    const done = await Promise.all(several.map(migrate))
    expect(done.flatMap(({ run }) => run)).toEqual([1, 2, 3, 4])
    expect(await migrate(several[1]!)).toMatchObject({ run: [], newest: 4, known: 4 })
    await Promise.all(several.map((one) => one.close()))
  })

  test('writes a job once however often it is saved, and counts it once', async () => {
    const root = 'p:{t:twice}'
    const one = job('job_1', { group: 'g', metadata: '{"a":"b"}' })
    await store.save(root, 1, [one, job('job_2', { group: 'g' })], DAY)
    await store.save(root, 2, [one], DAY)
    expect(await groupCounts(root, 'g', 9)).toEqual({ completed: 2 })
    expect(await groupCounts(root, 'g', 1)).toEqual({ completed: 1 })
    const [sum] = await usageOf(root)
    expect(sum).toMatchObject({ jobs: 2, calls: 2, input_tokens: 20, cost_usd: 0.000_2 })
    // Redis may not know that they exist.
    await store.save(
      root,
      2,
      [
        { ...one, isNew: true },
        { ...job('job_3'), isNew: true },
      ],
      DAY,
    )
    expect((await usageOf(root))[0]).toMatchObject({ jobs: 3, cost_usd: 0.000_3 })
    await store.remove(root, 'job_3', AT, true)
    await store.save(root, 2, [{ ...job('job_3'), isNew: true }], DAY)
    expect(await finder.rows(root, ['job_3'])).toEqual([])
    // It was queued again, and cost more.
    await store.save(root, 3, [job('job_1', { group: 'g', cost_usd: '0.000300000' })], DAY)
    expect((await usageOf(root))[0]).toMatchObject({ jobs: 3, cost_usd: 0.000_5 })
  })

  test('adds up the cost of a group, and its calls without a price', async () => {
    const root = 'p:{t:group-costs}'
    const made = (id: string, status: string, more: object) => {
      const one = job(id, { group: 'g', status })
      return { ...one, usage: { ...one.usage, ...more } }
    }
    await store.save(
      root,
      1,
      [
        ...[made('job_1', 'completed', { unpriced_calls: 2 }), made('job_2', 'completed', {})],
        ...[made('job_3', 'failed', { unpriced_calls: 1 }), made('job_4', 'cancelled', {})],
      ],
      DAY,
    )
    expect(Object.fromEntries(await finder.groupCounts(root, 'g', 1))).toEqual({
      completed: { count: 2, costNano: 200_000, unpricedCalls: 2 },
      failed: { count: 1, costNano: 100_000, unpricedCalls: 1 },
      cancelled: { count: 1, costNano: 100_000, unpricedCalls: 0 },
    })
  })

  test('leaves the copy of a job that Redis knows in its block', async () => {
    const root = 'p:{t:again}'
    const one = job('job_1', { group: 'g' })
    await store.save(root, 1, [one], DAY)
    await store.save(root, 2, [{ ...one, isMarked: true, deliveries: ['whd_1'] }], DAY)
    expect(await groupCounts(root, 'g', 1)).toEqual({ completed: 1 })
    expect(await finder.jobsOfDeliveries(root, ['whd_1', 'whd_2'])).toEqual(new Map([['whd_1', 'job_1']]))
  })

  test('keeps an answer that several jobs have until the last of them is deleted', async () => {
    const root = 'p:{t:answers}'
    const shared = { key: 'answer:h:n', value: Buffer.from('the answer') }
    await store.save(root, 1, [job('job_1', {}, shared), job('job_2', {}, shared)], DAY)
    await store.remove(root, 'job_1', AT, false)
    expect((await finder.contents(root, [shared.key])).get(shared.key)?.toString()).toBe('the answer')
    await store.remove(root, 'job_2', AT, false)
    expect((await finder.contents(root, [shared.key, 'body:job_1', 'body:job_2'])).size).toBe(0)
    // Copied again, a job has its result elsewhere.
    await store.save(root, 2, [job('job_3', {}, shared)], DAY)
    await store.save(root, 3, [job('job_3', {}, { key: 'result:job_3', value: shared.value })], DAY)
    expect([...(await finder.contents(root, [shared.key, 'result:job_3'])).keys()]).toEqual(['result:job_3'])
  })

  test('walks the index of the rarest condition of a query', async () => {
    const root = 'p:{t:rarest}'
    const metadata = '{"feature":"f"}'
    const jobs = Array.from({ length: 30 }, (_, at) =>
      job(`job_${at}`, {
        metadata,
        created_at: String(AT + at),
        ...(at === 0 ? { status: 'cancelled' } : {}),
      }),
    )
    await store.save(root, 1, jobs, DAY)
    const asked = { metadata: { feature: 'f' }, status: 'cancelled' }
    const find = (filter: HistoryFilter) => finder.page(root, filter, 'desc', null, 9, 20)
    const found = { places: [{ createdAt: AT, id: 'job_0' }], end: null }
    expect(await find(asked)).toMatchObject(found)
    expect(await find({ ...asked, model: 'a/one' })).toMatchObject(found)
    // Among equally frequent conditions it walks as far as a page goes.
    const stopped = await find({ metadata: { feature: 'f' }, model: 'a/one', type: 'image' })
    expect(stopped).toMatchObject({ places: [], end: { id: 'job_10' }, scanned: 20 })
  })

  test
    .skipIf(name !== 'SQLite')
    .each(
      keysOfFilter({ group: 'g', schedule: 's', errorCode: 'e', status: 'failed', model: 'm' }).map(
        (key) => [('column' in key ? key.column : 'pair') as string, key] as const,
      ),
    )('walks the index of %s behind a place, not all jobs', async (_column, key) => {
    const scan: Scan = {
      kind: 'sqlite',
      root: 'r',
      filter: {},
      key,
      order: 'desc',
      after: { createdAt: AT, id: 'i' },
    }
    const { rows } = await sql<{ detail: string }>`explain query plan ${scanRows(scan)}`.execute(
      database.reads,
    )
    const [{ detail } = { detail: '' }, ...others] = rows
    expect(detail).toMatch(
      /^SEARCH history_jobs USING .*\(root=\? AND \w+=\? AND \(created_at,id\)<\(\?,\?\)\)$/,
    )
    expect(others).toEqual([])
  })

  test('takes no late copy of a deleted job', async () => {
    const root = 'p:{t:late}'
    await store.remove(root, 'job_1', AT, true)
    await store.save(root, 1, [job('job_1'), job('job_2')], DAY)
    expect((await finder.rows(root, ['job_1', 'job_2'])).map(({ id }) => id)).toEqual(['job_2'])
    expect(await usageOf(root)).toMatchObject([{ jobs: 1 }])
    // Removing a job that never existed leaves nothing.
    expect(await store.remove(root, 'job_3', AT, false)).toBeNull()
  })

  test('deletes expired jobs, with all that belongs to them, and old sums', async () => {
    const root = 'p:{t:expiry}'
    await store.save(root, 1, [job('job_1', { group: 'g' }), job('job_2', { group: 'h' })], 1000)
    await store.reopen(root, 'job_2', AT, AT)
    await store.expire(AT + 1000, '2026-11-01')
    expect(await finder.groups(root, 9, null)).toEqual([{ group: 'h', at: AT }])
    expect((await finder.contents(root, ['body:job_1', 'body:job_2'])).size).toBe(1)
    expect(await usageOf(root)).toMatchObject([{ jobs: 2 }])
    await store.expire(AT, '2026-12-01')
    expect(await usageOf(root)).toEqual([])
  })

  test('finds jobs by every filter, in one order, page after page', async () => {
    const root = 'p:{t:find}'
    const jobs = Array.from({ length: 60 }, (_, at) =>
      job(`job_${String(at).padStart(3, '0')}`, {
        // Three for each millisecond.
        created_at: String(AT + Math.floor(at / 3)),
        status: at % 5 === 0 ? 'failed' : 'completed',
        ...(at % 5 === 0
          ? { error: JSON.stringify({ code: at % 10 ? 'timeout' : 'bad', retryable: true }) }
          : {}),
        model: at % 2 ? 'a/one' : 'fast',
        group: at % 4 ? 'g' : 'h',
        metadata: JSON.stringify({ user: String(at % 6), all: 'x' }),
        cost_usd: String(at / 1000),
      }),
    )
    await store.save(root, 1, jobs, DAY)
    await store.save('p:{t:other}', 1, [job('job_000')], DAY)
    const asked: [HistoryFilter, (at: number) => boolean][] = [
      [{}, () => true],
      [{ status: 'failed' }, (at) => at % 5 === 0],
      [{ errorCode: 'timeout' }, (at) => at % 5 === 0 && at % 10 !== 0],
      [{ model: 'fast', group: 'h' }, (at) => at % 2 === 0 && at % 4 === 0],
      [{ metadata: { user: '3' } }, (at) => at % 6 === 3],
      [{ metadata: { all: 'x', user: '1' }, status: 'completed' }, (at) => at % 6 === 1 && at % 5 !== 0],
      [{ minCostUsd: 0.05 }, (at) => at >= 50],
      [{ createdAfter: AT + 2, createdBefore: AT + 4 }, (at) => at >= 6 && at < 12],
    ]
    for (const [filter, isAsked] of asked) {
      const wanted = jobs.flatMap(({ id }, at) => (isAsked(at) ? [id] : []))
      expect(await all(root, filter, 'asc'), JSON.stringify(filter)).toEqual(wanted)
      expect(await all(root, filter, 'desc'), JSON.stringify(filter)).toEqual(wanted.toReversed())
    }
    const classes = (await finder.failures(root, 9)).sort(
      (a, b) => a.count - b.count || a.code.localeCompare(b.code),
    )
    expect(classes).toMatchObject([
      { code: 'bad', count: 6, isRetryable: true },
      { code: 'timeout', count: 6 },
    ])
  })

  test('keeps nothing of a job that was deleted, or whose time is over, in any table or file', async () => {
    const root = 'w:{t:canary}'
    const canary = 'canary-7f31c9'
    const make = (id: string) => ({
      ...job(id, { group: canary, metadata: JSON.stringify({ note: canary }), request_id: canary }),
      body: Buffer.from(`a prompt with ${canary} `.repeat(400)),
      result: { key: `answer:${id}:1`, value: Buffer.from(canary) },
      deliveries: [`d-${id}`],
      texts: {
        record: JSON.stringify({ metadata: canary }),
        attempts: JSON.stringify({ '1': canary }),
        deliveries: JSON.stringify([{ id: `d-${id}`, url: canary }]),
      },
    })
    const jobs = Array.from({ length: 40 }, (_, at) => make(`job_${at}`))
    await store.save(root, 1, jobs, DAY)
    expect(await findIn(canary)).not.toEqual([])
    await store.remove(root, 'job_0', 1_000, true)
    while ((await store.expire(Number.MAX_SAFE_INTEGER, '2000-01-01')) > 0);
    expect(await findIn(canary)).toEqual([])
  })

  /** Tables with the text, and the files of SQLite. */
  async function findIn(text: string): Promise<string[]> {
    const names = ['jobs', 'contents', 'metadata', 'deliveries', 'groups', 'usage'] as const
    const rows = await Promise.all(
      names.map((name) => database.db.selectFrom(`history_${name}`).selectAll().execute()),
    )
    const dump = (table: object[]) =>
      table
        .flatMap((row) => Object.values(row))
        .map((value) => (value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : String(value)))
    const found: string[] = names.filter((_name, at) => dump(rows[at]!).some((value) => value.includes(text)))
    if (database.kind === 'postgres') return found
    const path = database.name.slice('sqlite:'.length)
    const files = [path, `${path}-wal`].filter((file) => readFileSync(file, 'latin1').includes(text))
    return [...found, ...files]
  }

  test('adds up usage by every filter, for one tenant or for all', async () => {
    const ask = { from: '2026-11-30', to: '2026-11-30', top: null }
    await store.save('q:{t:one}', 1, [job('job_1'), job('job_2', { fair_key: '"u"' }, null, 'u')], DAY)
    await store.save('q:{t:two}', 1, [job('job_1', { lane: 'b/two' })], DAY)
    const by = async (...names: ('day' | 'tenant' | 'model' | 'tier' | 'fair_key')[]) =>
      (await readUsage(database, { prefix: 'q', tenant: null, by: names, ...ask }, () => 'u')).entries.map(
        (row) => [...names.map((name) => row[name]), row.jobs],
      )
    expect(await by()).toEqual([[3]])
    expect(await by('tenant')).toEqual([
      ['one', 2],
      ['two', 1],
    ])
    expect(await by('day', 'model')).toEqual([
      ['2026-11-30', 'a/one', 2],
      ['2026-11-30', 'b/two', 1],
    ])
    expect(await by('fair_key')).toEqual([
      [null, 2],
      ['u', 1],
    ])
  })

  test('adds up the most expensive of very many fair keys, and all others as one', async () => {
    const root = 'v:{t:many}'
    const many = Array.from({ length: 12_000 }, (_, at) => ({
      ...{ day: '2026-11-30', model: 'a/one', tier: 'standard', jobs: 2 },
      ...{ fair_key: `k${at}`, fair_label: `u${at}`, cost_nano: at },
    }))
    await database.change(root, (trx) =>
      addToUsage(
        database,
        trx,
        root,
        many.map((one) => [one, 1]),
      ),
    )
    const ask = { prefix: 'v', tenant: 'many', from: '2026-11-30', to: '2026-11-30' }
    const read = (by: 'fair_key' | 'model', top: number | null) =>
      readUsage(database, { ...ask, by: [by], top }, (_root, label) => label)
    await expect(read('fair_key', null)).rejects.toThrow(TooManySumsError)
    const { entries, rest } = await read('fair_key', 3)
    expect(entries.map((one) => [one.fair_key, one.cost_usd])).toEqual([
      ['u11999', 11_999e-9],
      ['u11998', 11_998e-9],
      ['u11997', 11_997e-9],
    ])
    expect(rest).toMatchObject({ entries: 11_997, jobs: 23_994, cost_usd: 0.071_958_006, failed: 0 })
    expect(await read('model', 3)).toMatchObject({ entries: [{ model: 'a/one', jobs: 24_000 }], rest: null })
  })

  test('stores texts of any kind', async () => {
    const root = 'p:{t:texts}'
    const odd = job('job_1', { model: 'a/"ö\u{1F600}', group: 'g' })
    await store.save(root, 1, [odd], DAY)
    const [row] = await finder.rows(root, ['job_1'])
    expect(JSON.parse(row!.record)).toEqual(odd.record)
  })

  async function all(root: string, filter: HistoryFilter, order: 'asc' | 'desc'): Promise<string[]> {
    const found: string[] = []
    let after: Place | null = null
    for (;;) {
      const page: Awaited<ReturnType<Finder['page']>> = await finder.page(root, filter, order, after, 7)
      found.push(...page.places.map(({ id }) => id))
      if (page.places.length < 7) return found
      after = page.places.at(-1)!
    }
  }

  async function groupCounts(root: string, group: string, block: number) {
    const found = await finder.groupCounts(root, group, block)
    return Object.fromEntries([...found].map(([status, { count: jobs }]) => [status, jobs]))
  }

  async function usageOf(root: string) {
    const [prefix] = root.split(':') as [string]
    const ask = { prefix, tenant: root.slice(5, -1), by: [], from: '2026-01-01', to: '2027-01-01', top: null }
    return (await readUsage(database, ask, () => null)).entries
  }
})

describe('an upgrade of a PostgreSQL that is in use', () => {
  /** A database as the first release created it. */
  async function openOld(): Promise<Database> {
    const database = openDatabase(await postgres.database(`history_${count++}`))
    const first = new URL('../../../history/migrations/postgres/0001-jobs.sql', import.meta.url)
    for (const statement of [
      ...readFileSync(first, 'utf8').replaceAll(/--.*$/gm, '').split(';').slice(0, -1),
      `create table history_migrations (
        number integer primary key, name text not null, applied_at text not null default (current_timestamp)
      )`,
      "insert into history_migrations (number, name) values (1, 'jobs')",
    ])
      await sql.raw(statement).execute(database.db)
    onTestFinished(() => database.close())
    return database
  }

  const indexes = async ({ db }: Database) =>
    (
      await sql<{ name: string; valid: boolean }>`
        select relname as name, indisvalid as valid from pg_index join pg_class on pg_class.oid = indexrelid
        where relname in ('history_jobs_created', 'history_jobs_listed')`.execute(db)
    ).rows

  test('lets a save that began before it end, sums included, while it makes an index', async () => {
    const database = await openOld()
    let migrating: Promise<unknown> | null = null
    // As a save of the release before: jobs first, sums last.
    await database.change('p:{t:busy}', async (trx) => {
      await sql`update history_jobs set state = 0`.execute(trx)
      migrating = migrate(database)
      migrating.catch(() => {})
      await expect
        .poll(async () => {
          const { rows } = await sql`select 1 from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock' and query ilike '%index%'`.execute(
            database.db,
          )
          return rows.length
        })
        .toBe(1)
      await sql`set local lock_timeout = 2000`.execute(trx)
      await sql`delete from history_usage where root = 'none'`.execute(trx)
      // And one that begins now succeeds, too.
      await createHistoryStore(database).save('p:{t:other}', 1, [job('job_1')], DAY)
    })
    expect(await migrating).toMatchObject({ run: [2, 3, 4], newest: 4 })
    expect(await indexes(database)).toEqual([{ name: 'history_jobs_listed', valid: true }])
  })

  test('begins again where one was interrupted, and leaves no lock where one failed', async () => {
    const database = await openOld()
    await sql`create index history_jobs_listed on history_jobs (root)`.execute(database.db)
    await sql`update pg_index set indisvalid = false where indexrelid = 'history_jobs_listed'::regclass`.execute(
      database.db,
    )
    await sql`alter table history_usage add column unpriced_calls text`.execute(database.db)
    await expect(migrate(database)).rejects.toThrow('unpriced_calls')
    const { rows } = await sql`select 1 from pg_locks where locktype = 'advisory'
      and database = (select oid from pg_database where datname = current_database())`.execute(database.db)
    expect(rows).toEqual([])
    await sql`alter table history_usage drop column unpriced_calls`.execute(database.db)
    expect(await migrate(database)).toMatchObject({ run: [2, 3, 4] })
    expect(await indexes(database)).toEqual([{ name: 'history_jobs_listed', valid: true }])
  })
})

function job(
  id: string,
  fields: Record<string, string> = {},
  result: FinishedJob['result'] = null,
  fairKey = '',
): FinishedJob {
  const record = {
    ...{ type: 'chat', status: 'completed', model: 'a/one', lane: 'a/one', created_at: String(AT) },
    ...{ finished_at: String(AT), cost_usd: '0.000100000', ...fields },
  }
  return {
    ...{ id, record, result, body: Buffer.from(`the body of ${id}`), deliveries: [] },
    texts: { record: JSON.stringify(record), attempts: '{}', deliveries: '[]' },
    ...{ eventCount: 3, schedule: null },
    usage: {
      ...{ day: '2026-11-30', model: record.lane, tier: 'standard', fair_key: fairKey },
      ...{ fair_label: fairKey, jobs: 1, calls: 1, input_tokens: 10 },
      cost_nano: Math.round(Number(record.cost_usd) * 1e9),
    },
  }
}
