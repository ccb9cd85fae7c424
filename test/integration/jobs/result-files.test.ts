import { beforeEach, expect, test } from 'vitest'
import type { AttemptEnd, ResultFile } from '../../../jobs/finish.ts'
import type { Job } from '../../../jobs/job.ts'
import type { NewJob } from '../../../jobs/new-job.ts'
import { newJob, openTestStore, type Running, TENANT, type TestStore } from '../../helpers/store.ts'

const end: AttemptEnd = { outcome: 'completed', latency_ms: 5, status: 200 }
let store: TestStore

beforeEach(async () => {
  store = await openTestStore()
})

function picture(prompt: string, members: Partial<NewJob> = {}): NewJob {
  return newJob({ type: 'image', body: { model: 'sim/chat', prompt }, ...members })
}

async function submit(job: NewJob): Promise<Job> {
  const outcome = await store.jobs.create(job)
  if (outcome.kind !== 'created') throw new Error(outcome.kind)
  return outcome.job
}

function newFile(): ResultFile {
  return { id: store.files.newId(), filename: 'image-0.png', bytes: Buffer.alloc(1_500_000, 'x') }
}

async function complete({ held, claimed }: Running, file = newFile()): Promise<ResultFile> {
  const result = { data: [{ file_id: file.id }] }
  await store.work.complete([{ claimed, end, result, usage: null, costUsd: 0, files: [file] }])
  await store.lane().acknowledge(held)
  return file
}

const isThere = async ({ id }: ResultFile) => (await store.files.get(TENANT, id)) !== null
const unheld = () => store.redis.zrange(`${store.root}:files:unheld`, '0', '-1')
/** As if it were due. */
async function passTime(): Promise<void> {
  for (const id of await unheld()) await store.redis.zadd(`${store.root}:files:unheld`, 1, id)
  await store.heldFiles.sweep(TENANT)
}

test.each<[string, Partial<NewJob>]>([
  ['in its record', { cache: 'off' }],
  ['kept for equal jobs', {}],
])('a job and the files of its answer, %s, are deleted together', async (_where, members) => {
  const job = await submit(picture('a', members))
  const file = await complete(await store.start())
  expect(await unheld()).toEqual([])
  await passTime()
  expect(await isThere(file)).toBe(true)
  expect(await store.jobs.remove(TENANT, job.id)).toBe(true)
  expect(await isThere(file)).toBe(false)
  expect(await unheld()).toEqual([])
})

test('files stay until the last job that shares them is gone, and while the answer is kept', async () => {
  const first = await submit(picture('b'))
  const follower = await submit(picture('b'))
  const file = await complete(await store.start())
  const late = await submit(picture('b'))
  expect([follower, late].map(({ cache }) => cache)).toEqual(['shared', 'hit'])
  for (const { id } of [first, late]) {
    await store.jobs.remove(TENANT, id)
    await passTime()
    expect(await isThere(file)).toBe(true)
  }
  await store.jobs.remove(TENANT, follower.id)
  expect(await isThere(file)).toBe(false)
})

test('retention leaves the files of a kept answer until it is not kept any more', async () => {
  store.settings.retainMs = 1
  const job = await submit(picture('c'))
  const file = await complete(await store.start())
  while ((await store.jobs.get(TENANT, job.id)) !== null) await store.retention.run(AbortSignal.timeout(5000))
  expect(await unheld()).toEqual([file.id])
  await store.heldFiles.sweep(TENANT)
  expect(await isThere(file)).toBe(true)
  store.settings.retainMs = 60_000
  const hit = await submit(picture('c'))
  expect(hit.cache).toBe('hit')
  expect(await unheld()).toEqual([])
  await store.jobs.remove(TENANT, hit.id)
  expect(await isThere(file)).toBe(false)
})

test('a worker that dies between the file and the end of the job leaves no file for ever', async () => {
  await submit(picture('d'))
  const running = await store.start()
  const lost = newFile()
  await store.heldFiles.put(TENANT, [lost])
  expect(await unheld()).toEqual([lost.id])
  // The job is called again, and has a file of its own.
  const file = await complete(running)
  await passTime()
  expect([await isThere(lost), await isThere(file)]).toEqual([false, true])
})

test.each<[string, Partial<NewJob>]>([
  ['in its record', { cache: 'off' }],
  ['kept for equal jobs', {}],
])('a result that is stored twice, %s, has its files once', async (_where, members) => {
  const job = await submit(picture('e', members))
  const running = await store.start()
  const file = await complete(running)
  await complete(running, file)
  expect(await unheld()).toEqual([])
  await store.jobs.remove(TENANT, job.id)
  expect(await isThere(file)).toBe(false)
})

test('the answer to a job that is gone leaves no file', async () => {
  const job = await submit(picture('f'))
  const running = await store.start()
  await store.jobs.remove(TENANT, job.id)
  const file = await complete(running)
  await store.heldFiles.sweep(TENANT)
  expect(await isThere(file)).toBe(false)
})

test('files of an answer that a newer one replaces stay for the jobs that have it', async () => {
  const first = await submit(picture('g'))
  const old = await complete(await store.start())
  await submit(picture('g', { cache: 'refresh' }))
  const file = await complete(await store.start())
  await passTime()
  expect([await isThere(old), await isThere(file)]).toEqual([true, true])
  await store.jobs.remove(TENANT, first.id)
  expect([await isThere(old), await isThere(file)]).toEqual([false, true])
})
