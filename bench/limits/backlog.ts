import { setTimeout as sleep } from 'node:timers/promises'
import type { Job } from '../../jobs/job.ts'
import { type Sluice, startSluice } from './sluice.ts'
import { startUpstream } from './upstream.ts'
import { LIMITS, makeCalls, secondsOf, sumOf } from './workload.ts'

export type Fairness = {
  noisyJobs: number
  quietJobs: number
  /** From the quiet tenant's submission to the end of its last job. */
  seconds: number
  /** The time of its jobs at half of the limit. */
  idealSeconds: number
}

export type Forecast = {
  /** The place of the job in the backlog, from 1. */
  place: number
  /** From the question to its start: as forecast, and as measured. */
  forecastSeconds: number
  seconds: number
  /** Of the true time; positive: it took longer than forecast. */
  error: number
}

const NOISY_JOBS = 1500
const QUIET_JOBS = 40
const BACKLOG = 1000
const PLACES = [250, 500, 750]
/** The noisy tenant's jobs run for this long before the quiet one comes. */
const HEAD_START_MS = 3000

/** A quiet tenant comes when a noisy one of the same weight has filled the queue. */
export async function measureFairness(say: (line: string) => void): Promise<Fairness> {
  say(`Fairness: ${QUIET_JOBS} jobs behind ${NOISY_JOBS} of another tenant`)
  return withSluice('fairness', async (sluice) => {
    await sluice.submit('noisy', 'all', 'fair', makeCalls('noisy', NOISY_JOBS))
    await sleep(HEAD_START_MS)
    const calls = makeCalls('quiet', QUIET_JOBS)
    const submittedAt = Date.now()
    await sluice.submit('quiet', 'all', 'fair', calls)
    const jobs = await sluice.waitFor('quiet', 'all', QUIET_JOBS)
    const endedAt = Math.max(...jobs.map((job) => Date.parse(job.finished_at!)))
    return {
      noisyJobs: NOISY_JOBS,
      quietJobs: QUIET_JOBS,
      seconds: (endedAt - submittedAt) / 1000,
      idealSeconds: secondsOf(sumOf(calls), LIMITS) * 2,
    }
  })
}

/** Asks when jobs of a backlog will start, as soon as they are queued, and measures when they do. */
export async function measureForecasts(say: (line: string) => void): Promise<Forecast[]> {
  say(`Forecasts of a backlog of ${BACKLOG}`)
  return withSluice('eta', async (sluice) => {
    await sluice.submit('noisy', 'all', 'eta', makeCalls('eta', BACKLOG))
    const askedAt = Date.now()
    const forecast = await sluice.list('noisy', 'all')
    const started = await sluice.waitFor('noisy', 'all', Math.max(...PLACES) + 1)
    const seconds = (time: string | null | undefined) => (Date.parse(time ?? '') - askedAt) / 1000
    return PLACES.map((place) => {
      const byPlace = (jobs: Job[]) => jobs[place - 1]
      const forecastSeconds = seconds(byPlace(forecast)?.estimated_start_at)
      const trueSeconds = seconds(byPlace(started)?.started_at)
      return {
        place,
        forecastSeconds,
        seconds: trueSeconds,
        error: (trueSeconds - forecastSeconds) / trueSeconds,
      }
    })
  })
}

async function withSluice<Result>(
  name: string,
  measure: (sluice: Sluice) => Promise<Result>,
): Promise<Result> {
  const closers: (() => Promise<unknown>)[] = []
  try {
    const windowMs = 60_000
    const upstream = await startUpstream({ name: `upstream-${name}`, enforcement: 'window', windowMs })
    closers.push(upstream.close)
    const sluice = await startSluice({ name, upstreamUrl: upstream.url, workers: 1, windowMs })
    closers.push(sluice.close)
    return await measure(sluice)
  } finally {
    for (const closer of closers.reverse()) await closer()
  }
}
