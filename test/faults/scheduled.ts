import { setTimeout as sleep } from 'node:timers/promises'
import { isTerminal, type Job } from '../../jobs/job.ts'
import { hashPrompt } from '../../simulator/answers.ts'
import { get } from './client.ts'
import { until } from './wait.ts'

const PATIENCE_MS = 60_000

export type Schedule = { id: string; name: string; created_at: string; runs: number }
type Run = { scheduled_for: string; started_at: string; outcome: string; job_id: string | null }
export type Page<Entry> = { data: Entry[] }

const messagesOf = (content: string) => [{ role: 'user', content }]
const jobOf = (content: string) => ({
  type: 'chat',
  body: { model: 'sim/chat', messages: messagesOf(content) },
})

/** The hash of the prompt of a schedule's jobs in the simulator's bill. */
export const promptHashOf = (name: string) => hashPrompt('chat', 'chat', { messages: messagesOf(name) })

/** A schedule whose jobs contain its name. */
export function createSchedule(url: string, name: string, members: object): Promise<Schedule> {
  return send(url, 'POST', '/v1/schedules', { name, job: jobOf(name), ...members })
}

/** A schedule that never runs by itself, sent again under one idempotency key until there is an answer. */
export function createOnce(urls: () => readonly string[], name: string): Promise<Schedule> {
  const body = { name, job: jobOf(name), cron: '0 0 1 1 *' }
  const look = () => send(urls().at(-1)!, 'POST', '/v1/schedules', body, { 'idempotency-key': name })
  return until(look, PATIENCE_MS, 'the answer to a schedule')
}

async function changeSchedule(url: string, id: string, change: object): Promise<void> {
  await send(url, 'PATCH', `/v1/schedules/${id}`, change)
}

export async function deleteSchedule(url: string, id: string): Promise<void> {
  await fetch(`${url}/v1/schedules/${id}`, { method: 'DELETE' })
}

export const runsOf = async (url: string, id: string) =>
  (await get<Page<Run>>(`${url}/v1/schedules/${id}/runs?limit=1000`))!.data

/** Waits until all slots that have passed of a schedule with one each second are settled, and pauses it. */
export async function settleSlots(url: string, schedule: Schedule, end: number): Promise<number> {
  const due = Math.floor((end - Date.parse(schedule.created_at)) / 1000)
  const runs = await until(
    async () => {
      const found = await runsOf(url, schedule.id)
      return found.length >= Math.min(due, 500) ? found : null
    },
    PATIENCE_MS,
    'the slots that passed',
  )
  await changeSchedule(url, schedule.id, { paused: true })
  return runs.length
}

/**
 * What does not hold for a schedule with a slot each second: each slot is listed once, and has at most one job, which
 * has ended.
 */
async function judgeSlots(url: string, id: string): Promise<string[]> {
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
  for (const job of jobs)
    if (!isTerminal(job.status)) broken.push(`the job ${job.id} of ${id} is ${job.status}`)
  // The history has the latest 500 slots, the list all jobs that are kept.
  const first = runs[0]?.scheduled_for ?? ''
  const late = found.filter((one) => one >= first)
  if (JSON.stringify(late.sort()) !== JSON.stringify(made.sort()))
    broken.push(
      `${id} has ${late.length} jobs for ${made.length} slots; besides: ${late.filter((one) => !made.includes(one))}`,
    )
  return broken
}

/**
 * What does not hold for a schedule that was just paused. A slot that began before the pause ends after it, and its
 * job later.
 */
export async function judgeSettled(url: string, id: string): Promise<string[]> {
  let faults = await judgeSlots(url, id)
  for (const end = performance.now() + PATIENCE_MS; faults.length > 0 && performance.now() < end; ) {
    await sleep(500)
    faults = await judgeSlots(url, id)
  }
  return faults
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
