import { setTimeout as sleep } from 'node:timers/promises'
import type { Job } from '../../jobs/job.ts'
import { createRandom } from '../../simulator/random.ts'
import { get, mapGently } from './client.ts'
import { startDurableWriter } from './durable-writers.ts'
import { type EventFollower, followBySocket, followBySse, judgeFollowers } from './event-followers.ts'
import type { Fault, Outcome, Settings } from './fault.ts'
import { countEnded, countLost, createRandomFlows, judgeFlows } from './random-flows.ts'
import {
  createOnce,
  createSchedule,
  judgeSettled,
  type Page,
  promptHashOf,
  type Schedule,
  settleSlots,
} from './scheduled.ts'
import { openStage, type Stage } from './stage.ts'
import { strike, type Victim, victims } from './strike.ts'
import { tallyUp } from './tally.ts'
import { until } from './wait.ts'

const SCHEDULES = 4
const FLOWS_PER_KILL = 4
const SLOW_MS = 300
const PATIENCE_MS = 120_000

/**
 * Schedules, flows and durable functions at once, while workers, API processes, Redis and the functions' own process
 * are killed at any time, and followers receive all events.
 */
export const killOrders: Fault = {
  name: 'order-kill',
  title: 'workers, APIs, Redis and clients kill -9 in the middle of slots, flows and durable functions',
  run,
}

async function run({ kills, seed, stalledAfterMs, say, opened }: Settings): Promise<Outcome> {
  const random = createRandom(seed)
  const stage = await openStage({
    apis: 2,
    simulator: ['--seed', String(seed), '--latency', '100'],
    stalledAfterMs,
  })
  opened(stage)
  const url = () => stage.urls()[0]!
  const followers = [followBySse(stage.urls), followBySocket(stage.urls)]
  const schedules = await Promise.all(
    Array.from({ length: SCHEDULES }, (_, at) =>
      createSchedule(url(), `ordered ${at}`, { every: '1s', catch_up: 'all' }),
    ),
  )
  const writer = startDurableWriter(stage.urls, 'report-')

  /** Each is killed as often as the others, in random order. */
  const deck: (Victim | 'client')[] = []
  const struck = { worker: 0, api: 0, redis: 0, client: 0 }
  const creations: ReturnType<typeof createRandomFlows>[] = []
  const created: Promise<{ id: string }>[] = []
  for (let kill = 1; kill <= kills; kill++) {
    const flows = createRandomFlows(stage.urls, seed + kill, FLOWS_PER_KILL, SLOW_MS, `k${kill}-`)
    const schedule = createOnce(stage.urls, `made at kill ${kill}`)
    for (const creating of [flows, schedule]) creating.catch(() => {})
    creations.push(flows)
    created.push(schedule)
    await sleep(1500 * random())
    if (deck.length === 0) deck.push(...victims, 'client')
    const [victim] = deck.splice(Math.floor(random() * deck.length), 1) as [Victim | 'client']
    if (victim === 'client') await writer.kill()
    else await strike(stage, victim, random)
    struck[victim]++
    if (kill % 5 === 0) say(`${kill} of ${kills} killed`)
  }

  const broken: string[] = []
  const flows = (await Promise.all(creations)).flat()
  const ids = new Set((await Promise.all(created)).map(({ id }) => id))
  if (ids.size !== kills) broken.push(`${kills} schedules were created, and ${ids.size} answered`)
  const end = Date.now()
  let slots = 0
  for (const schedule of schedules) {
    slots += await settleSlots(url(), schedule, end)
    broken.push(...(await judgeSettled(url(), schedule.id)))
  }
  broken.push(...(await writer.conclude()))
  const allEnded = async () => ((await countEnded(url(), flows)) === flows.length ? true : null)
  await until(allEnded, PATIENCE_MS, 'the end of all flows').catch(async (error: Error) => {
    broken.push(`${await countEnded(url(), flows)} of ${flows.length} flows ended: ${error.message}`)
  })
  await hearAll(url(), followers)
  broken.push(
    ...judgeFollowers(followers),
    ...(await judgeFlows(url(), flows)),
    ...(await judgeBill(stage, schedules)),
  )
  const { worker, api, redis, client } = struck
  return {
    tally: tallyUp([], []),
    recoveriesMs: [],
    broken,
    notes: [
      `seed ${seed}, ${kills} kills (${worker} workers, ${api} APIs, ${redis} × Redis, ${client} clients)`,
      `${slots} slots, ${flows.length} flows, ${writer.written.length} durable runs`,
      `${followers[0]!.heard.length} events, followers broken off ${followers.map(({ breaks }) => breaks).join(' and ')} times`,
    ],
  }
}

/** Waits until every follower has received the end of one more job, which comes after all others, and stops them. */
async function hearAll(url: string, followers: readonly EventFollower[]): Promise<void> {
  const job = {
    type: 'chat',
    body: { model: 'sim/chat', messages: [{ role: 'user', content: 'the last one' }] },
  }
  const headers = { 'content-type': 'application/json' }
  const { id } = await until(
    async () => {
      const answer = await fetch(`${url}/v1/jobs`, { method: 'POST', headers, body: JSON.stringify(job) })
      return answer.ok ? ((await answer.json()) as Job) : null
    },
    PATIENCE_MS,
    'the last job',
  )
  const hasHeard = ({ heard }: EventFollower) =>
    heard.some(({ subject, what }) => subject === id && what.endsWith(' job.completed'))
  await until(() => (followers.every(hasHeard) ? true : null), PATIENCE_MS, 'the last event').finally(() =>
    Promise.all(followers.map((follower) => follower.leave())),
  )
}

/**
 * What was bought more often than it was lost in mid-call. Jobs of a schedule share one prompt; every other job has
 * its own.
 */
async function judgeBill(stage: Stage, schedules: readonly Schedule[]): Promise<string[]> {
  const url = stage.urls()[0]!
  const jobs = await listJobs(url)
  const calls = (await stage.simulator.calls()).map((call) => call.prompt_hash)
  const lost = new Map(
    await mapGently(
      jobs.filter(({ attempts }) => attempts > 1),
      async ({ id }) => [id, await countLost(url, id)] as const,
    ),
  )
  const sumLost = (some: readonly Job[]) => some.reduce((sum, { id }) => sum + (lost.get(id) ?? 0), 0)
  const broken: string[] = []
  for (const { id, name } of schedules) {
    const own = jobs.filter((job) => job.metadata.schedule === id)
    const bought = calls.filter((hash) => hash === promptHashOf(name)).length
    if (bought > own.length + sumLost(own))
      broken.push(
        `${bought} calls were paid for ${own.length} jobs of ${name}, and ${sumLost(own)} were lost`,
      )
  }
  const scheduled = new Set(schedules.map(({ name }) => promptHashOf(name)))
  const others = calls.filter((hash) => !scheduled.has(hash))
  const twice = others.length - new Set(others).size
  const mayTwice = sumLost(jobs.filter((job) => job.metadata.schedule === undefined))
  if (twice > mayTwice)
    broken.push(`${twice} calls were paid twice, and ${mayTwice} were lost with their workers`)
  return broken
}

async function listJobs(url: string): Promise<Job[]> {
  const jobs: Job[] = []
  for (let after = ''; ; ) {
    const page = await get<Page<Job> & { has_more: boolean }>(`${url}/v1/jobs?limit=1000${after}`)
    jobs.push(...page!.data)
    if (!page!.has_more) return jobs
    after = `&after=${page!.data.at(-1)!.id}`
  }
}
