import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Job } from '../../jobs/job.ts'
import { createRandom } from '../../simulator/random.ts'
import { seed } from '../helpers/seed.ts'
import { chat, get, post, type Stack, startStack } from '../helpers/stack.ts'

type Run = { scheduled_for: string; outcome: string; job_id: string | null }
type Schedule = {
  id: string
  name: string
  created_at: string
  source: string
  cron: string | null
  runs: number
}
type Page<Entry> = { data: Entry[] }

/** `npm run faults` has the long form, which kills for minutes. */
const KILLS = 2

const declared = (name: string, cron: string) =>
  `  - { name: ${name}, cron: "${cron}", time_zone: Europe/Berlin, job: { type: chat, body: { model: sim/chat, messages: [{ role: user, content: Hello }] } } }\n`

let stack: Stack
let url: string
beforeAll(async () => {
  stack = await startStack({
    workers: 2,
    extra: `schedules:\n${declared('every-second', '* * * * * *')}${declared('nightly', '0 3 * * *')}`,
  })
  url = stack.urls[0]!
}, 60_000)
afterAll(async () => {
  await stack.stop()
})

const list = async () => (await get<Page<Schedule>>(url, '/v1/schedules')).data
const named = async (name: string) => (await list()).find((one) => one.name === name)

test('schedules of the file exist, run, are read-only, change with the file, and go with it', async () => {
  await expect
    .poll(async () => (await named('every-second'))?.runs ?? 0, { timeout: 15_000 })
    .toBeGreaterThan(0)
  const nightly = (await named('nightly'))!
  expect(nightly.source).toBe('file')
  for (const method of ['PATCH', 'DELETE']) {
    const answer = await fetch(`${url}/v1/schedules/${nightly.id}`, {
      method,
      ...(method === 'PATCH' && { headers: { 'content-type': 'application/json' }, body: '{"paused":true}' }),
    })
    expect(answer.status).toBe(409)
    expect(await answer.json()).toMatchObject({ error: { code: 'read_only' } })
  }
  // A faulty change leaves everything as it is, even if only the API's checks find it.
  await stack.rewriteConfig((text) => text.replaceAll('model: sim/chat', 'model: sim/none'))
  await expect.poll(() => stack.output(), { timeout: 10_000 }).toContain('schedules[0].job.body.model')
  expect(await list()).toHaveLength(2)
  await stack.rewriteConfig((text) =>
    text
      .replaceAll('model: sim/none', 'model: sim/chat')
      .replace(declared('every-second', '* * * * * *'), '')
      .replace('"0 3 * * *"', '"0 4 * * *"'),
  )
  await expect
    .poll(async () => (await list()).map(({ name }) => name), { timeout: 10_000 })
    .toEqual(['nightly'])
  await expect.poll(async () => (await named('nightly'))?.cron, { timeout: 10_000 }).toBe('0 4 * * *')
  // It is the same schedule still.
  expect((await named('nightly'))!.id).toBe(nightly.id)
}, 60_000)

test('each slot has one job, no matter which worker is killed in the middle', async () => {
  const random = createRandom(seed)
  const made = await Promise.all(
    ['all', 'all', 'latest', 'none'].map(async (catch_up, index) => {
      const job = chat(`schedule ${index}`, { metadata: { index: String(index) } })
      const answer = await post(url, '/v1/schedules', { every: '1s', catch_up, job })
      expect(answer.status).toBe(201)
      return (await answer.json()) as Schedule
    }),
  )
  for (let kill = 0; kill < KILLS; kill++) {
    await new Promise((resolve) => setTimeout(resolve, 300 + 1000 * random()))
    const victim = stack.workers.splice(Math.floor(random() * stack.workers.length), 1)[0]!
    victim.kill('SIGKILL')
    await victim.exited
    await stack.startWorker()
  }
  const runsOf = async (id: string) => (await get<Page<Run>>(url, `/v1/schedules/${id}/runs?limit=1000`)).data
  const until = Date.now()
  for (const { id, created_at: created } of made) {
    const slots = Math.floor((until - Date.parse(created)) / 1000)
    await expect
      .poll(async () => (await runsOf(id)).length, { timeout: 20_000 })
      .toBeGreaterThanOrEqual(slots)
  }
  for (const { id } of made)
    await fetch(`${url}/v1/schedules/${id}`, {
      method: 'PATCH',
      headers: { 'content-type': 'application/json' },
      body: '{"paused":true}',
    })
  for (const [index, { id, created_at: created }] of made.entries()) {
    const runs = (await runsOf(id)).reverse()
    // Every slot is listed, once and in order.
    expect(runs.map((run) => Date.parse(run.scheduled_for))).toEqual(
      runs.map((_, at) => Date.parse(created) + 1000 * (at + 1)),
    )
    if (index < 2) expect(new Set(runs.map(({ outcome }) => outcome))).toEqual(new Set(['created']))
    // Each slot with a job has exactly one. A slot that began before the pause ends after it.
    await expect
      .poll(async () => {
        const made = (await runsOf(id)).filter(({ outcome }) => outcome === 'created')
        // By what the jobs say themselves: a second job of a slot would be in no list of the schedule.
        const all = (await get<Page<Job>>(url, '/v1/jobs?limit=1000')).data
        const own = all.filter((job) => job.metadata.schedule === id)
        const ofRuns = made.map((run) => `${run.scheduled_for} ${run.job_id}`).sort()
        const ofJobs = own.map((job) => `${job.metadata.scheduled_for} ${job.id}`).sort()
        return JSON.stringify(ofJobs) === JSON.stringify(ofRuns) ? null : { ofJobs, ofRuns }
      })
      .toBeNull()
  }
}, 120_000)
