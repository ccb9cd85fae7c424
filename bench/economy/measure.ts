import { Redis } from 'ioredis'
import { priceInNano } from '../../lib/price.ts'
import type { Simulator } from '../../simulator/simulator.ts'
import { type Machine, readMachine } from '../machine.ts'
import { openService } from '../service.ts'
import {
  ARRIVALS_MS,
  canBeHalf,
  FLEX_MS,
  FLEX_OUTAGES,
  FLEX_REFUSED,
  HOUR,
  MINUTE,
  type PlannedJob,
  SLOT_MS,
  STANDARD_MS,
  type World,
} from './world.ts'

/** The ways that are compared. `batch`: everything goes through batches, also with a deadline that is too near. */
export const WAYS = ['auto', 'standard', 'batch'] as const
export type Way = (typeof WAYS)[number]

/** The result of one way. Times are those of the simulated world. */
export type WayResult = {
  way: Way
  jobs: number
  /** Without an answer, or with one after its deadline. */
  missed: number
  failed: number
  usd: number
  /** The price if every answer is bought once at standard; and at the cheapest that was possible in time. */
  standardUsd: number
  cheapestUsd: number
  /** Jobs by the tier that answered them. */
  served: Record<string, number>
  /** What the provider billed, in calls and lines. */
  bought: number
  providerBatches: number
  hours: number
  /** The first jobs that missed their deadlines: their outcome, and the minutes that they had. */
  examples: {
    index: number
    end: string
    tier: string | null
    attempts: number
    minutes: number
    lateMinutes: number
  }[]
}

const PRICE = { input: 1, output: 4, tiers: { flex: 0.5, batch: 0.5 } }
const FLEX_CALL = '"service_tier":"flex"'
/** Jobs that are due are submitted together, this often, ms of the clock. */
const SUBMIT_MS = 100
/** The most missed deadlines that are listed. */
const MOST_EXAMPLES = 40
/** A call that was refused at flex may come again after this. */
const RETRY_MS = MINUTE

type Listed = {
  id: string
  status: string
  finished_at: string | null
  cost_usd: number | null
  served_tier: string | null
  usage: { input_tokens: number; output_tokens: number } | null
  attempts: number
  error: { code: string } | null
  metadata: { index: string }
}

/**
 * Submits all jobs of the world in their time, and waits until the last of them has ended. `scale`: how many times
 * faster than the world.
 */
export async function measureWay(
  way: Way,
  world: World,
  scale: number,
  say: (line: string) => void,
): Promise<{ result: WayResult; machine: Machine }> {
  const service = await openService({
    name: 'economy',
    upstreams: {
      sim: {
        latencyMs: STANDARD_MS / scale,
        batches: { expiryMs: (24 * HOUR) / scale, cancelMs: (5 * MINUTE) / scale },
      },
    },
    configure: ({ sim }) => configure(sim, scale),
  })
  const { url, simulators } = service
  const closers: (() => Promise<unknown>)[] = [service.close]
  try {
    const redis = new Redis(service.redisUrl)
    closers.push(async () => redis.disconnect())
    const machine = await readMachine(redis)

    const clock = createClock(scale)
    const stopWorld = runWorld(simulators.sim, world, clock)
    closers.push(async () => stopWorld())
    const refused = await submitAll(url, way, world.jobs, clock)
    say(`${way}: all jobs are there`)
    await allEnded(url, way, world.jobs.length - refused, clock, say)
    const hours = clock.now() / HOUR
    const listed = await listAll(url)
    const result = toResult(way, world, listed, clock)
    result.missed += refused
    const bought = simulators.sim.calls().length
    return {
      result: { ...result, hours, bought, providerBatches: simulators.sim.batches.batches().length },
      machine,
    }
  } finally {
    for (const close of closers.reverse()) await close()
  }
}

type Clock = {
  /** ms of the world since its beginning. */
  now(): number
  /** Unix ms of a time of the world, and back. */
  toUnix(at: number): number
  fromUnix(at: number): number
}

function createClock(scale: number): Clock {
  const since = Date.now()
  const begun = performance.now()
  return {
    now: () => (performance.now() - begun) * scale,
    toUnix: (at) => since + at / scale,
    fromUnix: (at) => (at - since) * scale,
  }
}

function configure(upstream: string, scale: number): object {
  const span = (ms: number) => `${Math.max(10, Math.round(ms / scale))}ms`
  const tiers = {
    flex: { timeout: span(15 * MINUTE), fall_back_after: span(10 * MINUTE) },
    batch: { gather: span(10 * MINUTE), poll: span(5 * MINUTE), leave_before: span(2 * HOUR) },
  }
  const provider = {
    kind: 'openai',
    base_url: upstream,
    api_key: 'any',
    limits: { requests_per_minute: 500 * scale, max_concurrency: 1000 },
    timeout: span(3 * MINUTE),
    models: { m: { price: PRICE, tiers } },
  }
  return { log: { level: 'info' }, providers: { sim: provider } }
}

/** Makes the provider behave as the world says. */
function runWorld(simulator: Simulator, world: World, clock: Clock): () => void {
  const scale = clock.fromUnix(1) - clock.fromUnix(0)
  function look() {
    const at = clock.now()
    simulator.batches.set({ turnaroundMs: world.turnaround(at) / scale })
    const isOut = FLEX_OUTAGES.some(({ from, to }) => at >= from && at < to)
    const refused = { kind: 'flex_unavailable', match: FLEX_CALL, retry_after: RETRY_MS / scale } as const
    const slow = FLEX_MS.map(
      (ms, index) =>
        ({ kind: 'slow', match: FLEX_CALL, ms: ms / scale, rate: 1 / (FLEX_MS.length - index) }) as const,
    )
    simulator.setFaults([isOut ? refused : { ...refused, rate: FLEX_REFUSED }, ...slow])
  }
  look()
  const timer = setInterval(look, SLOT_MS / scale / 10)
  return () => clearInterval(timer)
}

/** Answers how many were refused because their deadlines were out of reach. */
async function submitAll(url: string, way: Way, jobs: readonly PlannedJob[], clock: Clock): Promise<number> {
  let refused = 0
  for (let next = 0; next < jobs.length; ) {
    const due: PlannedJob[] = []
    while (next < jobs.length && jobs[next]!.at <= clock.now()) due.push(jobs[next++]!)
    if (due.length > 0) {
      const body = due.map((job) => JSON.stringify(toCreate(job, way, clock))).join('\n')
      const headers = { 'content-type': 'application/x-ndjson' }
      const answer = await fetch(`${url}/v1/jobs/bulk`, { method: 'POST', headers, body })
      const text = await answer.text()
      for (const line of answer.ok ? text.trim().split('\n') : [text]) {
        if (!line.includes('"error":{')) continue
        if (!line.includes('"deadline_unreachable"')) throw new Error(`submitting: ${line.slice(0, 500)}`)
        refused++
      }
    }
    await new Promise((resolve) => setTimeout(resolve, SUBMIT_MS))
  }
  return refused
}

function toCreate({ index, deadline }: PlannedJob, way: Way, clock: Clock): object {
  const messages = [{ role: 'user', content: `Question ${index} of the economy bench` }]
  return {
    ...{ type: 'chat', tier: way, group: 'economy', metadata: { index: String(index) } },
    // A client that uses batches for everything waits until they are done.
    ...(way === 'batch' ? {} : { deadline: new Date(clock.toUnix(deadline)).toISOString() }),
    body: { model: 'sim/m', messages, max_tokens: 64 },
  }
}

async function allEnded(
  url: string,
  way: Way,
  count: number,
  clock: Clock,
  say: (line: string) => void,
): Promise<void> {
  for (let looks = 1; ; looks++) {
    const answer = await fetch(`${url}/v1/groups/economy`)
    const { counts } = (await answer.json()) as { counts: Record<string, number> }
    const ended = (counts.completed ?? 0) + (counts.failed ?? 0) + (counts.cancelled ?? 0)
    if (ended === count) return
    if (looks % 60 === 0)
      say(`${way}: ${ended} of ${count} after ${(clock.now() / HOUR).toFixed(1)} h of the world`)
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
}

async function listAll(url: string): Promise<Listed[]> {
  const all: Listed[] = []
  for (let hasMore = true; hasMore; ) {
    const last = all.at(-1)?.id
    const query = last === undefined ? '' : `&after=${last}`
    const answer = await fetch(`${url}/v1/jobs?group=economy&limit=1000${query}`)
    const page = (await answer.json()) as { data: Listed[]; has_more: boolean }
    all.push(...page.data)
    hasMore = page.has_more
  }
  return all
}

function toResult(
  way: Way,
  world: World,
  listed: readonly Listed[],
  clock: Clock,
): Omit<WayResult, 'hours' | 'bought' | 'providerBatches'> {
  const served: Record<string, number> = {}
  const examples: WayResult['examples'] = []
  const sum = { missed: 0, failed: 0, usd: 0, standardUsd: 0, cheapestUsd: 0 }
  for (const job of listed) {
    const planned = world.jobs[Number(job.metadata.index)]!
    const isInTime =
      job.status === 'completed' && clock.fromUnix(Date.parse(job.finished_at!)) <= planned.deadline
    if (!isInTime) {
      sum.missed++
      const { deadline, at } = planned
      if (examples.length < MOST_EXAMPLES) {
        examples.push({
          ...{ index: planned.index, end: job.error?.code ?? job.status, tier: job.served_tier },
          ...{ attempts: job.attempts, minutes: Math.round((deadline - at) / MINUTE) },
          lateMinutes: Math.round((clock.fromUnix(Date.parse(job.finished_at!)) - deadline) / MINUTE),
        })
      }
    }
    if (job.status !== 'completed') sum.failed++
    sum.usd += job.cost_usd ?? 0
    const standard = job.usage === null ? 0 : priceInNano(PRICE, job.usage) / 1e9
    sum.standardUsd += standard
    sum.cheapestUsd += canBeHalf(world, planned) ? standard / 2 : standard
    const tier = job.served_tier ?? 'none'
    served[tier] = (served[tier] ?? 0) + 1
  }
  return { way, jobs: listed.length, ...sum, served, examples }
}

/** How long the jobs of a way take to come, in hours of the world. */
export const ARRIVAL_HOURS = ARRIVALS_MS / HOUR
