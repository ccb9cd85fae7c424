import { expect, test } from 'vitest'
import type { Job } from '../../jobs/job.ts'
import { createRandom } from '../../simulator/random.ts'
import { chat, get, post, startStack } from '../helpers/stack.ts'

type Run = { scheduled_for: string; outcome: string; job_id: string | null }
type Page<Entry> = { data: Entry[] }

/** The long form kills for minutes; `npm run faults` has it. */
const KILLS = Number(process.env.SLUICE_SCHEDULE_KILLS ?? 2)
const SEED = Number(process.env.SLUICE_SEED ?? Math.floor(Math.random() * 1e6))

test(`each slot of a schedule has one job, whichever worker is killed in the middle (seed ${SEED})`, async () => {
  const random = createRandom(SEED)
  const stack = await startStack({ workers: 2 })
  try {
    const url = stack.urls[0]!
    const made = await Promise.all(
      ['all', 'all', 'latest', 'none'].map(async (catch_up, index) => {
        const job = chat(`schedule ${index}`, { metadata: { index: String(index) } })
        const answer = await post(url, '/v1/schedules', { every: '1s', catch_up, job })
        expect(answer.status).toBe(201)
        return (await answer.json()) as { id: string; created_at: string }
      }),
    )
    const runsOf = (id: string) => get<Page<Run>>(url, `/v1/schedules/${id}/runs?limit=1000`)
    for (let kill = 0; kill < KILLS; kill++) {
      await new Promise((resolve) => setTimeout(resolve, 500 + 1000 * random()))
      const victim = stack.workers.splice(Math.floor(random() * stack.workers.length), 1)[0]!
      victim.kill('SIGKILL')
      await victim.exited
      await stack.startWorker()
    }
    const until = Date.now()
    const slotsUntil = (created: string) => Math.floor((until - Date.parse(created)) / 1000)
    for (const { id, created_at: created } of made) {
      await expect
        .poll(async () => (await runsOf(id)).data.length, { timeout: 20_000 })
        .toBeGreaterThanOrEqual(slotsUntil(created))
    }
    for (const [index, { id, created_at: created }] of made.entries()) {
      const runs = (await runsOf(id)).data.reverse()
      const slots = runs.map((run) => Date.parse(run.scheduled_for))
      expect(slots).toEqual(runs.map((_, at) => Date.parse(created) + 1000 * (at + 1)))
      if (index < 2) expect(runs.every(({ outcome }) => outcome === 'created')).toBe(true)
      const jobs = (await get<Page<Job>>(url, `/v1/jobs?schedule=${id}&limit=1000`)).data
      const known = new Set(runs.flatMap(({ job_id: job }) => job ?? []))
      const all = (await get<Page<Job>>(url, '/v1/jobs?limit=1000')).data.filter(
        (job) => job.metadata.index === String(index),
      )
      const times = all.map((job) => job.metadata.scheduled_for)
      expect(new Set(times).size).toBe(times.length)
      expect(new Set(jobs.map((job) => job.id)).size).toBeGreaterThanOrEqual(known.size)
    }
  } finally {
    await stack.stop()
  }
}, 120_000)
