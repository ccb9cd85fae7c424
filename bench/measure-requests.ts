import { Agent, type Dispatcher } from 'undici'
import { CHAT_MODEL, chatBody } from './bodies.ts'
import { countCalls } from './measure-throughput.ts'
import { readCounts, subtractCounts } from './redis-meter.ts'
import type { Stage } from './stage.ts'
import { quantile } from './statistics.ts'
import { runEmbeddings } from './systems.ts'

export type Latency = {
  jobs: number
  p50Ms: number
  p99Ms: number
  /** Redis script calls a job, including those that idle processes make at the same time. */
  scriptCalls: number
}

/** Clients of the cache at the same time. */
const CACHE_CLIENTS = 32
const JSON_HEADERS = { 'content-type': 'application/json' }

/** One chat job after the other through an idle Sluice: `POST /v1/jobs`, then `GET …?wait=30`, both requests timed. */
export function measureSluiceLatency(stage: Stage, first: number, count: number): Promise<Latency> {
  return measureLatency(stage, async () => {
    const agent = new Agent()
    const times: number[] = []
    for (let number = first; number < first + count; number++) {
      const since = performance.now()
      const job = await postJob(stage, agent, number)
      const path = `/v1/jobs/${job.id}?wait=30`
      const answer = await agent.request({ origin: stage.sluice.url, path, method: 'GET' })
      const { status } = (await answer.body.json()) as { status: string }
      times.push(performance.now() - since)
      if (status !== 'completed') throw new Error(`a job of an idle Sluice is ${status} after 30 s`)
    }
    await agent.close()
    return times
  })
}

/** The same through the queue built by hand: add, then BullMQ's `waitUntilFinished`. */
export function measureHandLatency(stage: Stage, first: number, count: number): Promise<Latency> {
  return measureLatency(stage, () => stage.hand.producer.ask<number[]>('roundTrips', { first, count }))
}

async function measureLatency(stage: Stage, run: () => Promise<number[]>): Promise<Latency> {
  const before = await readCounts(stage.redis)
  const times = await run()
  const { scriptCalls } = subtractCounts(await readCounts(stage.redis), before)
  return {
    jobs: times.length,
    p50Ms: quantile(times, 0.5),
    p99Ms: quantile(times, 0.99),
    scriptCalls: scriptCalls / times.length,
  }
}

/** The same chat job again and again, answered from the cache: hits a second. */
export async function measureCacheHits(stage: Stage, number: number, count: number): Promise<number> {
  const agent = new Agent({ connections: CACHE_CLIENTS })
  let job = await postJob(stage, agent, number)
  while (job.status !== 'completed') job = await postJob(stage, agent, number)
  const before = await countCalls(stage)
  const startedAt = performance.now()
  let left = count
  await Promise.all(
    Array.from({ length: CACHE_CLIENTS }, async () => {
      while (left-- > 0) {
        const hit = await postJob(stage, agent, number)
        if (hit.cache !== 'hit') throw new Error(`the cache answered with a ${hit.cache}`)
      }
    }),
  )
  const seconds = (performance.now() - startedAt) / 1000
  await agent.close()
  if ((await countCalls(stage)) !== before) throw new Error('a cache hit called the upstream')
  return count / seconds
}

/** One-input embedding jobs from `POST /v1/jobs/bulk`, which share provider requests. */
export async function measureEmbeddings(stage: Stage, first: number, count: number) {
  const before = await countCalls(stage)
  const { startedAt, endedAt } = await runEmbeddings(stage, first, count)
  return {
    jobs: count,
    jobsPerSecond: (count / (endedAt - startedAt)) * 1000,
    providerRequests: (await countCalls(stage)) - before,
  }
}

async function postJob(stage: Stage, dispatcher: Dispatcher, number: number) {
  const answer = await dispatcher.request({
    origin: stage.sluice.url,
    path: '/v1/jobs',
    method: 'POST',
    headers: JSON_HEADERS,
    body: JSON.stringify({ type: 'chat', body: chatBody(`sim/${CHAT_MODEL}`, number) }),
  })
  return (await answer.body.json()) as { id: string; status: string; cache: string }
}
