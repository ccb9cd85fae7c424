import { mkdtemp, readdir, readFile, rename, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { readStoreId } from '../../../jobs/store-id.ts'
import { readMachineIdentity } from '../../../lib/machine-identity.ts'
import { startSpool } from '../../../workers/spool.ts'
import { keysOf } from '../../helpers/redis.ts'
import { RUN_VARIABLE } from '../../helpers/run-processes.ts'
import { openTestStore, read, submit, success, TENANT, type TestStore, until } from '../../helpers/store.ts'

/** No process has this number; of this machine, and of another. */
const GONE = '99999999.000000000000'
const DEAD = `${await readMachineIdentity()}.${GONE}`
const AWAY = `0123456789ab.1.000000000000`

/** A living worker touches its files every quarter of this. */
const LEASE_MS = 400

async function openFolder() {
  const folder = await mkdtemp(join(process.env[RUN_VARIABLE] ?? tmpdir(), 'spool-'))
  const list = async () => (await readdir(folder)).sort()
  return { folder, list }
}

function open(store: TestStore, folder: string, storeId = () => readStoreId(store.redis, store.prefix)) {
  const errors: string[] = []
  const spool = startSpool({
    folder,
    storeId,
    restore: store.work.restore,
    leaseMs: LEASE_MS,
    onError: (error, what) => errors.push(`${what}: ${error}`),
  })
  onTestFinished(() => spool.stop())
  return { spool, errors }
}

/** A job whose result went to the spool, as its worker would have sent it. */
async function spoolOne(store: TestStore, folder: string) {
  const job = await submit(store)
  const { claimed } = await store.start()
  const finishes = store.work.encode([
    { claimed, end: success, result: { answer: 'paid' }, usage: null, costUsd: 0.5 },
  ])
  const { spool } = open(store, folder)
  const takeAway = await spool.put(finishes)
  return { job, spool, takeAway }
}

/** Makes the files those of another process: one that is gone, or process 1 of another container. */
async function bury(folder: string, owner = DEAD) {
  for (const name of await readdir(folder)) {
    await rename(join(folder, name), join(folder, name.replace(/^\w+\.\d+\.\w+/, owner)))
  }
}

it('results of a dead worker are stored and removed; until then no call may begin', async () => {
  const store = await openTestStore()
  const { folder, list } = await openFolder()
  const { job } = await spoolOne(store, folder)
  await bury(folder)
  const { spool } = open(store, folder)
  expect(spool.isRecovering()).toBe(true)
  await until(() => !spool.isRecovering())
  expect(await read(store, job.id)).toMatchObject({
    status: 'completed',
    result: { answer: 'paid' },
    cost_usd: 0.5,
  })
  expect(await list()).toEqual([])
})

it('a file of a process that lives is left to it, which removes it when it is stored', async () => {
  const store = await openTestStore()
  const { folder, list } = await openFolder()
  const { job, takeAway } = await spoolOne(store, folder)
  const { spool } = open(store, folder)
  await until(() => !spool.isRecovering())
  const [name, ...others] = await list()
  expect(others).toEqual([])
  expect((await stat(join(folder, name!))).mode & 0o777).toBe(0o600)
  expect((await read(store, job.id)).status).toBe('running')
  await takeAway()
  expect(await list()).toEqual([])
})

it('a job that was deleted in between stays deleted, and its result is removed from the disk', async () => {
  const store = await openTestStore()
  const { folder, list } = await openFolder()
  const { job } = await spoolOne(store, folder)
  await bury(folder)
  await store.jobs.remove(TENANT, job.id)
  open(store, folder)
  await until(async () => (await list()).length === 0)
  expect(await store.jobs.get(TENANT, job.id)).toBe(null)
  expect(await keysOf(store.redis, `${store.root}:job:${job.id}*`)).toEqual([])
})

it('results for another store stay, and unreadable files are set aside', async () => {
  const store = await openTestStore()
  const { folder, list } = await openFolder()
  const { job, spool: writer } = await spoolOne(store, folder)
  await writer.stop()
  await bury(folder)
  const [kept] = await list()
  await writeFile(join(folder, `${DEAD}.00000000-0000-7000-8000-000000000000.json`), '{"store"')
  await writeFile(join(folder, `${DEAD}.00000000-0000-7000-8000-000000000001.part`), 'half')
  const { spool, errors } = open(store, folder, async () => 'another')
  await until(() => !spool.isRecovering())
  expect(await list()).toEqual([`${DEAD}.00000000-0000-7000-8000-000000000000.json.bad`, kept])
  expect(await spool.count()).toEqual({ waiting: 1, setAside: 1 })
  expect(errors.join()).toContain('is for another store, and stays')
  expect((await read(store, job.id)).status).toBe('running')
})

it('a disk that does not accept a result is reported, and nothing is thrown', async () => {
  const store = await openTestStore()
  const { folder } = await openFolder()
  const file = join(folder, 'a file')
  await writeFile(file, '')
  const { spool, errors } = open(store, file)
  const takeAway = await spool.put([{ tenant: TENANT, id: 'job_x', args: [] }])
  await takeAway()
  expect(errors.join()).toMatch(/writing a result to the spool: .*(EEXIST|ENOTDIR)/)
})

it('the files on disk are what the store would hold', async () => {
  const store = await openTestStore()
  const { folder, list } = await openFolder()
  const { takeAway } = await spoolOne(store, folder)
  const [name] = await list()
  const { finishes } = JSON.parse(await readFile(join(folder, name!), 'utf8'))
  expect(finishes[0].args).toContain('{"answer":"paid"}')
  await takeAway()
})

it('results of a worker in another container are stored once no process has touched them for a lease, also from earlier versions', async () => {
  for (const owner of [AWAY, GONE]) {
    const store = await openTestStore()
    const { folder, list } = await openFolder()
    const { job, spool } = await spoolOne(store, folder)
    await spool.stop()
    await bury(folder, owner)
    open(store, folder)
    await until(async () => (await list()).length === 0)
    expect(await read(store, job.id)).toMatchObject({ status: 'completed', result: { answer: 'paid' } })
  }
})

it('files that a worker in another container touches are left to it, complete or not, by any clock of that worker', async () => {
  const store = await openTestStore()
  const { folder, list } = await openFolder()
  const { job, spool: writer } = await spoolOne(store, folder)
  await writer.stop()
  await bury(folder, AWAY)
  await writeFile(join(folder, `${AWAY}.00000000-0000-7000-8000-000000000001.part`), 'half')
  const names = await list()
  const { spool } = open(store, folder)
  await until(() => !spool.isRecovering())
  // An hour slow, and running.
  const beginning = Date.now()
  for (let sign = 0; sign < 12; sign++) {
    const at = new Date(beginning - 3_600_000 + sign * 1000)
    for (const name of names) await utimes(join(folder, name), at, at)
    await new Promise((resolve) => setTimeout(resolve, LEASE_MS / 4))
  }
  expect(await list()).toEqual(names)
  expect((await read(store, job.id)).status).toBe('running')
})

it('a worker touches its files for as long as it lives', async () => {
  const store = await openTestStore()
  const { folder, list } = await openFolder()
  await spoolOne(store, folder)
  const [name] = await list()
  const changedAt = async () => (await stat(join(folder, name!))).mtimeMs
  const first = await changedAt()
  await until(async () => (await changedAt()) > first)
})

it('a store that was emptied is a different one for later results', async () => {
  const store = await openTestStore()
  const { folder, list } = await openFolder()
  const { job, claimed } = await (async () => {
    const made = await submit(store)
    return { job: made, claimed: (await store.start()).claimed }
  })()
  let id = 'before'
  let isThere = true
  const { spool } = open(store, folder, async () => {
    if (!isThere) throw new Error('away')
    return id
  })
  await until(() => !spool.isRecovering())
  id = 'after'
  await new Promise((resolve) => setTimeout(resolve, LEASE_MS))
  isThere = false
  await spool.put(
    store.work.encode([{ claimed, end: success, result: { answer: 'paid' }, usage: null, costUsd: 0 }]),
  )
  const [name] = await list()
  expect(JSON.parse(await readFile(join(folder, name!), 'utf8'))).toMatchObject({
    store: 'after',
    finishes: [{ id: job.id }],
  })
})
