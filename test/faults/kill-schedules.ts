import { setTimeout as sleep } from 'node:timers/promises'
import type { Job } from '../../jobs/job.ts'
import { createRandom } from '../../simulator/random.ts'
import { get } from './client.ts'
import type { Fault, Outcome, Settings } from './fault.ts'
import { openStage } from './stage.ts'
import { strike, type Victim, victims, victimTitles } from './strike.ts'
import { tallyUp } from './tally.ts'
import { until } from './wait.ts'

const SCHEDULES = 8
const AT_ONCE = 1000
const PATIENCE_MS = 60_000

type Schedule = { id: string; created_at: string; runs: number }
type Run = { scheduled_for: string; started_at: string; outcome: string; job_id: string | null }
type Page<Entry> = { data: Entry[] }

/**
 * Schedules with a slot every second, while workers, API processes or Redis are killed again and again. With each kill one more
 * schedule is created under an idempotency key. After the workers, a thousand slots at once.
 */
export const killSchedules: readonly Fault[] = victims.map((victim) => ({
  name: victim === 'worker' ? 'schedule-kill' : `schedule-kill-${victim}`,
  title: `${victimTitles[victim]} kill -9 in the middle of slots`,
  run: (settings) => run(victim, settings),
}))

async function run(victim: Victim, { kills, seed, stalledAfterMs, say, opened }: Settings): Promise<Outcome> {
  const random = createRandom(seed)
  const stage = await openStage({ apis: 2, simulator: ['--seed', String(seed)], stalledAfterMs })
  opened(stage)
  const url = () => stage.urls()[0]!
  const schedules = await Promise.all(
    Array.from({ length: SCHEDULES }, (_, at) =>
      make(url(), `killed ${at}`, { every: '1s', catch_up: 'all' }),
    ),
  )
  const broken: string[] = []
  const creations: Promise<Schedule>[] = []
  for (let kill = 1; kill <= kills; kill++) {
    await sleep(200 + 1500 * random())
    const creating = createOnce(stage.urls, `made at kill ${kill}`)
    creating.catch(() => {})
    creations.push(creating)
    await sleep(20 * random())
    await strike(stage, victim, random)
    if (kill % 5 === 0) say(`${kill} of ${kills} killed`)
  }
  const made = new Set((await Promise.all(creations)).map(({ id }) => id))
  const named = (await get<Page<Schedule & { name: string }>>(
    `${url()}/v1/schedules?limit=1000`,
  ))!.data.filter(({ name }) => name.startsWith('made at kill'))
  if (made.size !== kills || named.length !== kills)
    broken.push(`${kills} schedules were created, ${made.size} answered and ${named.length} are there`)
  const end = Date.now()
  let slots = 0
  for (const schedule of schedules) {
    const due = Math.floor((end - Date.parse(schedule.created_at)) / 1000)
    const runs = await until(
      async () => {
        const found = await runsOf(url(), schedule.id)
        return found.length >= Math.min(due, 500) ? found : null
      },
      PATIENCE_MS,
      'the slots that passed',
    )
    await patch(url(), schedule.id, { paused: true })
    slots += runs.length
    // A slot that was begun before the pause ends after it.
    let faults = await judge(url(), schedule.id)
    for (let tries = 0; faults.length > 0 && tries < 10; tries++) {
      await sleep(500)
      faults = await judge(url(), schedule.id)
    }
    broken.push(...faults)
    // A tenant may have a thousand.
    await fetch(`${url()}/v1/schedules/${schedule.id}`, { method: 'DELETE' })
  }
  for (const { id } of named) await fetch(`${url()}/v1/schedules/${id}`, { method: 'DELETE' })
  const notes = [`seed ${seed}, ${kills} kills, ${slots} slots`]
  if (victim === 'worker')
    notes.push(`${AT_ONCE} slots at once: the last job after ${await runAtOnce(url(), broken)} ms`)
  return { tally: tallyUp([], []), recoveriesMs: [], broken, notes }
}

/** What does not hold: each slot is told of once, and has one job where it has any. */
async function judge(url: string, id: string): Promise<string[]> {
  const runs = (await runsOf(url, id)).reverse()
  const times = runs.map((run) => Date.parse(run.scheduled_for))
  const broken = times.flatMap((time, at) =>
    at > 0 && time !== times[at - 1]! + 1000 ? [`${id} goes from ${times[at - 1]} to ${time}`] : [],
  )
  const jobs = (await get<Page<Job>>(`${url}/v1/jobs?schedule=${id}&limit=1000`))!.data
  const made = runs
    .filter(({ outcome }) => outcome === 'created')
    .map((run) => `${run.scheduled_for} ${run.job_id}`)
  const found = jobs.map((job) => `${job.metadata.scheduled_for} ${job.id}`)
  // The history has the latest 500, the list all jobs that are kept.
  const first = runs[0]?.scheduled_for ?? ''
  const late = found.filter((one) => one >= first)
  if (JSON.stringify(late.sort()) !== JSON.stringify(made.sort()))
    broken.push(
      `${id} has ${late.length} jobs for ${made.length} slots; besides: ${late.filter((one) => !made.includes(one))}`,
    )
  return broken
}

/** A thousand schedules with one slot at the same instant: how late the last of their jobs is, ms. */
async function runAtOnce(url: string, broken: string[]): Promise<number> {
  const startsAt = new Date(Date.now() + 15_000).toISOString()
  const members = { every: '1h', starts_at: startsAt, max_runs: 1 }
  const ids: string[] = []
  for (let at = 0; at < AT_ONCE; at += 20) {
    const some = Array.from({ length: 20 }, (_, index) => make(url, `at once ${at + index}`, members))
    ids.push(...(await Promise.all(some)).map(({ id }) => id))
  }
  await sleep(Math.max(0, Date.parse(startsAt) - Date.now()))
  await until(
    async () =>
      (await runsOf(url, ids.at(-1)!)).length > 0 && (await runsOf(url, ids[0]!)).length > 0 ? true : null,
    PATIENCE_MS,
    'the slots at once',
  )
  await sleep(3000)
  const late: number[] = []
  for (const id of ids) {
    const [run] = await runsOf(url, id)
    if (run?.outcome !== 'created') broken.push(`${id} was not run: ${run?.outcome}`)
    else late.push(Date.parse(run.started_at) - Date.parse(run.scheduled_for))
  }
  return Math.max(...late)
}

async function make(url: string, content: string, members: object): Promise<Schedule> {
  const job = { type: 'chat', body: { model: 'sim/chat', messages: [{ role: 'user', content }] } }
  return send(url, 'POST', '/v1/schedules', { name: content, job, ...members })
}

/** A schedule that never runs by itself, sent again under one idempotency key until it is answered. */
function createOnce(urls: () => readonly string[], name: string): Promise<Schedule> {
  const job = { type: 'chat', body: { model: 'sim/chat', messages: [{ role: 'user', content: name }] } }
  const look = () =>
    send(
      urls().at(-1)!,
      'POST',
      '/v1/schedules',
      { name, job, cron: '0 0 1 1 *' },
      { 'idempotency-key': name },
    )
  return until(look, PATIENCE_MS, 'the answer to a schedule')
}

async function patch(url: string, id: string, change: object): Promise<void> {
  await send(url, 'PATCH', `/v1/schedules/${id}`, change)
}

async function send(
  url: string,
  method: string,
  path: string,
  body: object,
  more: Record<string, string> = {},
): Promise<Schedule> {
  const headers = { 'content-type': 'application/json', ...more }
  const response = await fetch(url + path, { method, headers, body: JSON.stringify(body) })
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`)
  return (await response.json()) as Schedule
}

const runsOf = async (url: string, id: string) =>
  (await get<Page<Run>>(`${url}/v1/schedules/${id}/runs?limit=1000`))!.data
