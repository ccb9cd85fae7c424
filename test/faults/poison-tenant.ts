import { setTimeout as sleep } from 'node:timers/promises'
import { createRandom } from '../../simulator/random.ts'
import { getJob, mapGently } from './client.ts'
import { checkRecoveries, type Fault, type Outcome, type Settings } from './fault.ts'
import { allEnded, judge } from './judge.ts'
import { type Load, type Sent, startLoad } from './load.ts'
import { openStage, type Stage } from './stage.ts'
import { addTallies } from './tally.ts'
import { until } from './wait.ts'

const GROUP = 'poison'
const tenants = ['healthy', 'poisonous']
const POISONED = 30
/** The provider fails on every request with this mark. */
const MARK = '[[fault:500]]'
/** What the poison may add to the time that a job of the other tenant waits. */
const MORE_MS = 2000
const CALM_MS = 5000

/** The prompts of one tenant break the provider every time; another tenant has work on the same lane. */
export const poisonTenant: Fault = {
  name: 'poison',
  title: 'poisonous prompts of one tenant beside a healthy one',
  async run(settings: Settings): Promise<Outcome> {
    const { quick, seed, say } = settings
    const random = createRandom(seed)
    const stage = await openStage({
      tenants,
      limits: '{ max_concurrency: 4 }',
      simulator: ['--latency', '200', '--jitter', '200', '--seed', String(seed)],
      stalledAfterMs: settings.stalledAfterMs,
    })
    settings.opened(stage)
    const clients = { urls: stage.urls, random }
    const healthy = startLoad({ ...clients, group: GROUP, tenant: 'healthy', perSecond: 4 })
    await sleep(CALM_MS)
    const before = [...healthy.sent]
    // Its clients send only jobs that are added.
    const poison = startLoad({ ...clients, group: GROUP, tenant: 'poisonous', perSecond: 0 })
    for (let job = 0; job < POISONED; job++) poison.add({ mark: MARK, members: { max_attempts: 2 } })
    await sleep(quick ? 20_000 : 60_000)
    await Promise.all([healthy.stop(), poison.stop()])
    say('the healthy tenant sends no more')
    // The tally would count calls of the other tenant that still run as calls of jobs that have ended.
    await until(
      async () => {
        const ends = await Promise.all(tenants.map((one) => allEnded(stage.urls()[0]!, GROUP, one)))
        return ends.every(Boolean) || null
      },
      180_000,
      'the end of all jobs',
    ).catch(() => {}) // A job that has not ended is counted below.
    const bad = await judge(stage, poison, GROUP, 180_000)
    const good = await judge(stage, healthy, GROUP, 60_000)
    const waitsBefore = await readWaits(stage, healthy, before)
    const waitsMs = await readWaits(stage, healthy, healthy.sent.slice(before.length))
    const most = Math.max(...waitsBefore)
    const broken = [...good.broken, ...bad.broken]
    broken.push(...checkRecoveries(waitsMs, most + MORE_MS, 'a healthy job beside the poison'))
    if (good.tally.failed.size > 0) broken.push('healthy jobs failed')
    const failed = [...bad.tally.failed.values()].reduce((sum, count) => sum + count, 0)
    if (failed !== POISONED) broken.push(`${POISONED - failed} poisoned jobs did not fail`)
    const longest = (waits: number[]) => `${Math.round(Math.max(...waits))} ms`
    const notes = [`healthy jobs waited ${longest(waitsMs)} at the most, ${longest(waitsBefore)} before`]
    return { tally: addTallies([good.tally, bad.tally]), recoveriesMs: waitsMs, broken, notes }
  },
}

/** From each job's acceptance to its first call, ms. */
function readWaits(stage: Stage, { tenant }: Load, jobs: readonly Sent[]): Promise<number[]> {
  const accepted = jobs.filter(({ id }) => id !== null)
  return mapGently(accepted, async ({ id }) => {
    const job = await getJob(stage.urls()[0]!, id!, tenant)
    return Date.parse(job?.started_at ?? '') - Date.parse(job?.created_at ?? '')
  })
}
