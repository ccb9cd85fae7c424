import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'kysely'
import { pino } from 'pino'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { searchQuery } from '../../../api/jobs/search-query.ts'
import { createCopyState } from '../../../history/copy-state.ts'
import { openDatabase } from '../../../history/database.ts'
import { HistoryUnavailableError } from '../../../history/errors.ts'
import { createFinder } from '../../../history/find.ts'
import { migrate } from '../../../history/migrate.ts'
import { createHistoryStore } from '../../../history/store.ts'
import { createStoredJobs } from '../../../history/stored-jobs.ts'
import { USAGE_SUMS } from '../../../history/tables.ts'
import { TooManySumsError } from '../../../history/usage.ts'
import { guardStore, watchDatabase } from '../../../history/watch.ts'
import { createHistorySource } from '../../../jobs/history-source.ts'
import { groupKey } from '../../../jobs/keys.ts'
import { ALONE, createScripts } from '../../../jobs/scripts.ts'
import { openHistory } from '../../../services/history.ts'
import { createWebhookStore } from '../../../webhooks/store.ts'
import { newJob, openTestStore, success, TENANT } from '../../helpers/store.ts'

let folder: string
let count = 0
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-history-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** Jobs over Redis and SQLite. `move` copies ended jobs; `forget` lets Redis drop what was copied. */
async function open() {
  const store = await openTestStore()
  const { redis, root, prefix, atRest } = store
  const url = `sqlite:${join(folder, `${count++}.db`)}`
  const settings = {
    history: { url, keep: 86_400_000, content: 'full' },
    ...{ jobs: { hot: 0, retain: 3_600_000 }, redrive: [], providers: {}, lanes: {}, models: {} },
  }
  const closers: (() => Promise<unknown>)[] = []
  const opened = openHistory(
    {
      config: { current: () => settings },
      log: pino({ level: 'silent' }),
      metrics: { history: { watch() {}, onMoved() {} } },
    } as never,
    { add: (_name: string, close: () => Promise<unknown>) => closers.push(close) } as never,
  )
  onTestFinished(async () => {
    for (const close of closers) await close()
  })
  const allScripts = createScripts(redis, { ...ALONE, keepsHistory: true })
  /** Names of the scripts that ran, in their order. */
  const ran: string[] = []
  const scripts: typeof allScripts = {
    ...allScripts,
    run(name, ...rest) {
      ran.push(name)
      return allScripts.run(name, ...rest)
    },
  }
  const history = opened!.attach({
    ...{ redis, scripts, prefix, atRest, now: Date.now, active: { touch() {} } },
    config: () => settings as never,
  })
  const jobs = history.inFrontOf(store.openJobs({ scripts, history }))
  const failures: unknown[] = []
  const watch = { take: () => [TENANT] }
  const [mover] = history.createTasks({ maintenance: { watch } } as never, ({ error }) =>
    failures.push(error),
  )
  const run = () => mover!.run(new AbortController().signal)
  const move = async () => {
    await run()
    expect(failures).toEqual([])
  }
  const forget = () => scripts.run('retire', root, [100])
  const database = openDatabase(url)
  await migrate(database)
  closers.push(() => database.close())
  const source = createHistorySource({ redis, scripts, answers: null as never, now: Date.now })
  const key = (id: string) => `${root}:job:${id}`

  const limits = { maxQueued: 100, requestsPerMinute: null, budgetUsdPerDay: 1 }
  async function create(text: string, runAt: number | null = Date.now() + 3_600_000): Promise<string> {
    const outcome = await jobs.create(newJob({ runAt, limits, estimateUsd: 0.6 }, text))
    return (outcome as { job: { id: string } }).job.id
  }
  /** A cancelled job that only the history has. */
  async function createCold(text: string): Promise<string> {
    const id = await create(text)
    await jobs.cancel(TENANT, id)
    await move()
    await forget()
    expect(await redis.exists(key(id))).toBe(0)
    return id
  }
  return {
    ...store,
    scripts,
    ran,
    history,
    jobs,
    run,
    failures,
    move,
    forget,
    database,
    source,
    key,
    create,
    createCold,
  }
}

test('a job whose retry is refused stays in the history', async () => {
  const { jobs, redis, key, forget, createCold, create, database, root } = await open()
  const id = await createCold('one')
  const other = await create('two')
  expect(await jobs.retry(TENANT, id)).toMatchObject({ kind: 'budget_exhausted' })
  await expect
    .poll(async () => {
      await forget()
      return redis.exists(key(id))
    })
    .toBe(0)
  expect(await jobs.get(TENANT, id)).toMatchObject({ status: 'cancelled' })
  await jobs.cancel(TENANT, other)
  expect(await jobs.retry(TENANT, id)).toMatchObject({ kind: 'retried' })
  await expect.poll(() => createFinder(database).rows(root, [id])).toEqual([])
})

test('a job that ended again is not hidden by the retry before, or by an older copy', async () => {
  const { jobs, history, root, move, forget, createCold, database } = await open()
  const id = await createCold('one')
  const finder = createFinder(database)
  const [old] = await finder.rows(root, [id])
  await jobs.retry(TENANT, id)
  await expect.poll(() => finder.rows(root, [id])).toEqual([])
  await jobs.cancel(TENANT, id)
  await move()
  await forget()
  history.onAgain(root, id, old!.finished_at)
  await createHistoryStore(database).save(
    root,
    1,
    [
      {
        ...{ id, record: JSON.parse(old!.record), body: null, result: null, deliveries: [] },
        texts: { record: old!.record, attempts: '{}', deliveries: '[]' },
        ...{ eventCount: old!.event_count, schedule: null, usage: JSON.parse(old!.usage) },
      },
    ],
    3_600_000,
  )
  const [row] = await finder.rows(root, [id])
  expect(row!.finished_at).toBeGreaterThan(old!.finished_at)
  expect(await jobs.get(TENANT, id)).toMatchObject({ status: 'cancelled' })
})

test('a call that went on when a job was copied is not its own after a retry', async () => {
  const { jobs, redis, key, create, move } = await open()
  const id = await create('one')
  await jobs.cancel(TENANT, id)
  await redis.hset(key(id), 'carrying', '1')
  await move()
  await redis.del(key(id))
  expect(await jobs.retry(TENANT, id)).toMatchObject({ kind: 'retried', job: { status: 'queued' } })
})

test('what is to be deleted is not shown any more, and the mover deletes it everywhere', async () => {
  const { jobs, source, redis, root, key, move, create, createCold, database } = await open()
  const id = await createCold('one')
  const still = await create('two')
  for (const one of [id, still]) await source.noteDeletion(root, one, Date.now())
  expect(await jobs.get(TENANT, id)).toBeNull()
  expect(await jobs.statuses(TENANT, [id])).toEqual([null])
  expect(await jobs.retry(TENANT, id)).toBeNull()
  const restored = {
    id,
    record: new Map([['status', 'failed']]),
    attempts: {},
    deliveries: '[]',
    eventCount: 1,
  }
  expect(await source.restore(root, { ...restored, lastEvent: '{}', costNano: 0 }, 1000)).toBe(false)
  for (const one of [id, still]) await redis.zadd(`${root}:history`, 0, `delete:${one}`)
  await move()
  expect(await redis.zcard(`${root}:history`)).toBe(0)
  expect(await redis.exists(key(still))).toBe(0)
  expect(await createFinder(database).rows(root, [id])).toEqual([])
})

test('a cost that is known after the end reaches the history', async () => {
  const { jobs, openWork, scripts, start, create, move, forget } = await open()
  const id = await create('one', null)
  const { claimed } = await start()
  await jobs.cancel(TENANT, id)
  await move()
  await openWork({ scripts }).complete([{ claimed, end: success, result: {}, usage: null, costUsd: 0.5 }])
  await move()
  await forget()
  expect(await jobs.get(TENANT, id)).toMatchObject({ status: 'cancelled', cost_usd: 0.5 })
})

test('a delivery that was given up is listed after its job has left Redis, until the job is deleted', async () => {
  const { jobs, history, redis, root, key, move, forget, database } = await open()
  const webhooks = createWebhookStore({
    ...{ redis, root: () => root },
    findMoved: history.findMovedDeliveries,
  })
  const listed = async (status: 'pending' | 'failed' | null) =>
    (await webhooks.failing(TENANT, status, 9)).deliveries
  const webhook = { url: 'https://r.example/', events: ['job.cancelled' as const] }
  const created = await jobs.create(newJob({ runAt: Date.now() + 3_600_000, webhook }, 'one'))
  const { id } = (created as { job: { id: string } }).job
  await jobs.cancel(TENANT, id)
  await move()
  const ask = { limit: 1, leaseMs: 60_000, offset: 0, perHost: 9, inHand: new Map() }
  const { claimed } = await webhooks.claimDue(TENANT, ask)
  const attempt = { at: new Date().toISOString(), status: 500, error: 'answered 500', latency_ms: 12 }
  await webhooks.recordAttempt(claimed[0]!, attempt, { status: 'failed' })
  const before = await listed(null)
  expect(before).toMatchObject([{ job_id: id, status: 'failed', attempts: [{ status: 500 }] }])
  // The copy has the attempt, which came after it.
  await move()
  await forget()
  expect(await redis.exists(key(id), `${root}:delivery:${before[0]!.id}`)).toBe(0)
  expect(await listed(null)).toEqual(before)
  expect([await listed('failed'), await listed('pending')]).toEqual([before, []])
  expect(await jobs.deliveries(TENANT, id)).toEqual(before)
  // Queued again, its job is not shown from the history; the delivery keeps its place.
  const [row] = await createFinder(database).rows(root, [id])
  await createHistoryStore(database).reopen(root, id, row!.finished_at, Date.now())
  expect(await listed(null)).toEqual([])
  expect(await redis.zcard(`${root}:webhooks:failing`)).toBe(1)
  await jobs.remove(TENANT, id)
  expect(await listed(null)).toEqual([])
  expect(await redis.zcard(`${root}:webhooks:failing`)).toBe(0)
})

test('a delivery that is sent again after its job has left Redis stays part of the job', async () => {
  const { jobs, history, source, redis, root, move, forget } = await open()
  const webhooks = createWebhookStore({
    ...{ redis, root: () => root },
    findMoved: history.findMovedDeliveries,
  })
  const webhook = { url: 'https://r.example/', events: ['job.cancelled' as const] }
  async function send(status: number) {
    const ask = { limit: 1, leaseMs: 60_000, offset: 0, perHost: 9, inHand: new Map() }
    const { claimed } = await webhooks.claimDue(TENANT, ask)
    const error = status === 200 ? null : `answered ${status}`
    const attempt = { at: new Date().toISOString(), status, error, latency_ms: 12 }
    await webhooks.recordAttempt(claimed[0]!, attempt, { status: error === null ? 'delivered' : 'failed' })
  }
  async function createDelivered(text: string) {
    const created = await jobs.create(newJob({ runAt: Date.now() + 3_600_000, webhook }, text))
    const { id } = (created as { job: { id: string } }).job
    await jobs.cancel(TENANT, id)
    await send(500)
    await move()
    await forget()
    const [delivery] = (await jobs.deliveries(TENANT, id))!
    return { id, delivery: delivery!.id, inRedis: `${root}:delivery:${delivery!.id}` }
  }
  const { id, delivery, inRedis } = await createDelivered('one')
  expect(await redis.exists(inRedis)).toBe(0)
  expect(await jobs.redeliver(TENANT, delivery)).toMatchObject({ status: 'pending' })
  expect(await jobs.deliveries(TENANT, id)).toMatchObject([
    { status: 'pending', attempts: [{ status: 500 }] },
  ])
  await send(200)
  const sent = await jobs.deliveries(TENANT, id)
  expect(sent).toMatchObject([{ status: 'delivered', attempts: [{ status: 500 }, { status: 200 }] }])
  // Its days in Redis begin again at each sending.
  await redis.pexpire(inRedis, 1000)
  await jobs.redeliver(TENANT, delivery)
  expect(await redis.pttl(inRedis)).toBeGreaterThan(86_400_000)
  await send(200)
  await move()
  expect(await redis.zcard(`${root}:history`)).toBe(0)
  await redis.del(inRedis)
  const after = await jobs.deliveries(TENANT, id)
  expect(after).toMatchObject([
    { status: 'delivered', attempts: [500, 200, 200].map((status) => ({ status })) },
  ])
  // The job is queued again, and ends and moves again.
  await jobs.retry(TENANT, id)
  expect(await jobs.deliveries(TENANT, id)).toEqual(after)
  // A redelivery that looked before this changes nothing: the delivery stays as long as its job.
  await source.restoreDelivery(root, { id: delivery, job_id: id, status: 'failed' })
  expect(await redis.pttl(inRedis)).toBe(-1)
  await jobs.cancel(TENANT, id)
  await send(200)
  await move()
  await forget()
  expect(await redis.exists(inRedis)).toBe(0)
  expect(await jobs.deliveries(TENANT, id)).toMatchObject([{ status: 'delivered' }, after![0]!])
  // A delivery that waits to be sent again goes with its job.
  const other = await createDelivered('two')
  await jobs.redeliver(TENANT, other.delivery)
  await jobs.remove(TENANT, other.id)
  expect(await redis.exists(other.inRedis)).toBe(0)
  expect(await redis.zcard(`${root}:webhooks`)).toBe(0)
  expect(await jobs.redeliver(TENANT, other.delivery)).toBeNull()
})

test('what changed after a job was read for its copy is copied again', async () => {
  const { jobs, source, redis, root, key, create, move } = await open()
  const id = await create('one')
  await jobs.cancel(TENANT, id)
  const { block } = (await source.due(root, 9))!
  const noted = () => redis.zscore(`${root}:history`, id)
  await redis.zadd(`${root}:history`, block + 1, id)
  const finishedAt = (await redis.hget(key(id), 'finished_at'))!
  const copy = { id, finishedAt, hotMs: 1000, costNano: 0, unpricedCalls: 0 }
  await source.mark(root, block, 1000, [copy], [])
  expect(await noted()).toBe(String(block + 1))
  await expect
    .poll(async () => {
      await move()
      return noted()
    })
    .toBeNull()
})

test('a group of calls without a price costs the same after its jobs have left Redis', async () => {
  const { jobs, redis, key, openWork, scripts, start, move, forget, root } = await open()
  const complete = async (text: string) => {
    const created = await jobs.create(newJob({ group: 'g' }, text))
    const { claimed } = await start()
    const { cost_usd: _, ...end } = success
    await openWork({ scripts }).complete([
      { claimed, end: { ...end, is_unpriced: true }, result: {}, usage: null, costUsd: null },
    ])
    return (created as { job: { id: string } }).job.id
  }
  const id = await complete('one')
  const before = await jobs.group(TENANT, 'g')
  expect(before).toMatchObject({ total: 1, cost_usd: null, unpriced_calls: 1 })
  await move()
  expect(await jobs.group(TENANT, 'g')).toEqual(before)
  await forget()
  expect(await redis.exists(key(id), groupKey(root, 'g'))).toBe(0)
  expect(await jobs.group(TENANT, 'g')).toEqual(before)
  expect((await jobs.groups(TENANT, 9)).data).toMatchObject([{ cost_usd: null, unpriced_calls: 1 }])
  // One that only the history has, and one that Redis has: copied, left alone by the next copy, and gone.
  const next = await complete('two')
  const both = { total: 2, cost_usd: null, unpriced_calls: 2 }
  expect(await jobs.group(TENANT, 'g')).toMatchObject(both)
  await move()
  expect(await jobs.group(TENANT, 'g')).toMatchObject(both)
  await redis.zadd(`${root}:history`, 0, next)
  await move()
  expect(await jobs.group(TENANT, 'g')).toMatchObject(both)
  await forget()
  expect(await redis.exists(key(next))).toBe(0)
  expect(await jobs.group(TENANT, 'g')).toMatchObject(both)
  // Its copies as a process of the release before counts them, and then those of this one.
  await complete('three')
  await complete('four')
  await jobs.create(newJob({ runAt: Date.now() + 3_600_000, group: 'g' }, 'later'))
  await move()
  await redis.hdel(groupKey(root, 'g'), 'copied_unpriced')
  const all = (count: number) => ({ total: count + 1, unpriced_calls: count })
  // In Redis the two, in the history all four: there are at least that many.
  expect(await jobs.group(TENANT, 'g')).toMatchObject(all(4))
  await complete('five')
  await move()
  expect(await jobs.group(TENANT, 'g')).toMatchObject(all(5))
  // All copies have left Redis, and the group's hash stays.
  await forget()
  expect(await jobs.group(TENANT, 'g')).toMatchObject(all(5))
})

test('a block is done once, when its jobs are copied, also where a delivery is refused', async () => {
  const { jobs, history, redis, root, run, ran, failures, move, forget, database } = await open()
  const webhooks = createWebhookStore({
    ...{ redis, root: () => root },
    findMoved: history.findMovedDeliveries,
  })
  const webhook = { url: 'https://r.example/', events: ['job.cancelled' as const] }
  const create = async (text: string) => {
    const created = await jobs.create(newJob({ runAt: Date.now() + 3_600_000, webhook, group: 'g' }, text))
    return (created as { job: { id: string } }).job.id
  }
  const ask = { limit: 1, leaseMs: 60_000, offset: 0, perHost: 9, inHand: new Map() }
  const old = await create('one')
  await jobs.cancel(TENANT, old)
  const { claimed } = await webhooks.claimDue(TENANT, ask)
  const attempt = { at: new Date().toISOString(), status: 500, error: 'answered 500', latency_ms: 12 }
  await webhooks.recordAttempt(claimed[0]!, attempt, { status: 'failed' })
  await move()
  await forget()
  const [delivery] = (await jobs.deliveries(TENANT, old))!
  await jobs.redeliver(TENANT, delivery!.id)
  const again = await webhooks.claimDue(TENANT, ask)
  await webhooks.recordAttempt(again.claimed[0]!, attempt, { status: 'failed' })
  const next = await create('two')
  await jobs.cancel(TENANT, next)
  ran.splice(0)
  const refuse =
    "create trigger no before update of deliveries on history_jobs begin select raise(abort, 'no'); end"
  await sql.raw(refuse).execute(database.db)
  await run()
  expect(failures.splice(0)).toHaveLength(1)
  expect(await createFinder(database).rows(root, [next])).toHaveLength(1)
  // It is tried again later.
  const name = `delivery:${delivery!.id}`
  expect(await redis.zrange(`${root}:history`, '0', '-1')).toEqual([name])
  expect(Number(await redis.zscore(`${root}:history`, name))).toBeGreaterThan(Date.now() + 60_000)
  expect(ran.filter((name) => name === 'history-mark')).toHaveLength(1)
  await sql`drop trigger no`.execute(database.db)
  await redis.zadd(`${root}:history`, 0, name)
  await move()
  expect(await redis.zcard(`${root}:history`)).toBe(0)
})

test('one reading of jobs for the history ends at some bytes, large answers included', async () => {
  const { jobs, openWork, scripts, start, root } = await open()
  const ids: string[] = []
  for (const text of ['one', 'two']) {
    const created = await jobs.create(newJob({}, text))
    const { claimed } = await start()
    await openWork({ scripts }).complete([
      {
        claimed,
        end: success,
        result: { text: randomBytes(1_200_000).toString('hex') },
        usage: null,
        costUsd: null,
      },
    ])
    ids.push((created as { job: { id: string } }).job.id)
  }
  const read = await scripts.run('history-read', root, [1024 * 1024, '1', ...ids])
  expect(read).toHaveLength(1)
})

test('a late follower of a group learns how jobs ended that Redis has dropped', async () => {
  const { jobs, redis, key, move, forget } = await open()
  const runAt = Date.now() + 3_600_000
  const create = async (text: string) => {
    const outcome = await jobs.create(newJob({ runAt, group: 'g' }, text))
    return (outcome as { job: { id: string } }).job.id
  }
  const [cold, hot] = [await create('one'), await create('two')]
  await jobs.cancel(TENANT, cold)
  await move()
  await forget()
  expect([await redis.exists(key(cold)), await redis.exists(key(hot))]).toEqual([0, 1])
  const leaving = new AbortController()
  const following = await jobs.followGroup(TENANT, 'g', '', leaving.signal)
  const ends: unknown[] = []
  for await (const { event, data } of following!.events) {
    ends.push([event, data.job_id, (data as { job?: { status: string } }).job?.status])
    if (data.job_id === cold) break
  }
  leaving.abort()
  expect(ends).toEqual([
    ['job.queued', hot, undefined],
    ['job.cancelled', cold, 'cancelled'],
  ])
})

test('usage of very many rows is refused, by the database', async () => {
  const { history, database, root } = await open()
  const columns = ['root', 'day', 'model', 'tier', 'fair_key', 'fair_label'] as const
  await database.change(root, (trx) =>
    database.insertMany(trx, {
      table: 'history_usage',
      columns: [
        ...columns.map((name) => [name, 'text'] as const),
        ...USAGE_SUMS.map((n) => [n, 'bigint'] as const),
      ],
      rows: Array.from({ length: 10_001 }, (_, at) => [
        ...[root, '2026-11-30', `m/${at}`, '', '', ''],
        ...USAGE_SUMS.map(() => 1),
      ]),
      conflict: '',
    }),
  )
  const read = (by: ('model' | 'day')[]) =>
    history.usage.read({ tenant: TENANT, by, from: '2026-11-01', to: '2026-11-30', top: null })
  await expect(read(['model'])).rejects.toThrow(TooManySumsError)
  expect(await read(['day'])).toMatchObject({ entries: [{ jobs: 10_001 }], rest: null })
})

test('one slow query is not an outage', async () => {
  const { database } = await open()
  let downs = 0
  const watch = watchDatabase({ database, onMigrated() {}, onDown: () => downs++, onUp() {} })
  const stored = createStoredJobs({ finder: createFinder(database), watch, answerMs: 200 } as never)
  await stored.ask(async () => 1)
  await expect(stored.ask(() => new Promise(() => {}))).rejects.toThrow(HistoryUnavailableError)
  expect([await stored.ask(async () => 2), downs]).toEqual([2, 0])
})

test('a database that does not answer is noticed, and callers get an error at once', async () => {
  const connections = new Set<Socket>()
  const silent = createServer((socket) => connections.add(socket))
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  const { port } = silent.address() as AddressInfo
  const database = openDatabase(`postgres://u@127.0.0.1:${port}/d`)
  onTestFinished(async () => {
    for (const socket of connections) socket.destroy()
    await database.close()
    await new Promise((resolve) => silent.close(resolve))
  })
  const said: string[] = []
  const watch = watchDatabase({
    ...{ database, onMigrated() {}, onUp: () => said.push('up') },
    onDown: () => said.push('down'),
  })
  await watch.look()
  expect([watch.state().isUp, said]).toEqual([false, ['down']])
  const stored = createStoredJobs({ finder: createFinder(database), watch, answerMs: 60_000 } as never)
  await expect(stored.ask(() => new Promise(() => {}))).rejects.toThrow(HistoryUnavailableError)
})

test('a database that accepts no writes still answers reads, and is away until it accepts something', async () => {
  const { database, root } = await open()
  const said: string[] = []
  const watch = watchDatabase({
    ...{ database, onMigrated() {}, onUp: () => said.push('up') },
    onDown: () => said.push('down'),
  })
  const store = guardStore(createHistoryStore(database), watch)
  const stored = createStoredJobs({ finder: createFinder(database), watch } as never)
  const remove = () => store.remove(root, 'job_1', Date.now(), true)
  await remove()
  const { rows } = await sql<{ page_count: number }>`pragma page_count`.execute(database.db)
  await sql.raw(`pragma max_page_count = ${rows[0]!.page_count}`).execute(database.db)
  const many = async () => {
    for (let at = 0; at < 500; at++) await store.remove(root, `job_${at}`, Date.now(), true)
  }
  await expect(many()).rejects.toThrow(HistoryUnavailableError)
  expect([watch.state().isUp, said]).toEqual([false, ['down']])
  await expect(stored.ask(() => createFinder(database).rows(root, ['job_1']))).resolves.toEqual([])
  expect(watch.state().isUp).toBe(false)
  await sql`pragma max_page_count = 1000000`.execute(database.db)
  await remove()
  expect([watch.state().isUp, said]).toEqual([true, ['down', 'up']])
})

test('a failed copy is reported with the message of its cause, or its own, for every thrown value', async () => {
  const { redis, prefix } = await openTestStore()
  const reports = [
    [new Error('disk full'), 'disk full'],
    [new Error('outer', { cause: new Error('inner') }), 'inner'],
    [new Error('outer', { cause: 'no Error' }), 'no Error'],
    [new Error('outer', { cause: { code: 5 } }), '[object Object]'],
    ['text', 'text'],
    [null, 'null'],
    [undefined, 'undefined'],
  ] as const
  for (const [thrown, error] of reports) {
    const state = createCopyState({ redis, prefix, now: () => 1_000, elapsed: () => 0 })
    await state.fails(thrown)
    expect(await state.read()).toEqual({ since: 1_000, error })
  }
})

test.each([
  ['min_cost_usd', '1e10'],
  ['min_cost_usd', '-1'],
  ['model', 'a\0b'],
  ['error_code', '\0'],
])('the search for %s = %j is refused', (name, value) => {
  const { error } = z.object(searchQuery).safeParse({ [name]: value })
  expect(error?.issues.map(({ path }) => path)).toEqual([[name]])
})
