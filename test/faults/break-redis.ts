import { setTimeout as sleep } from 'node:timers/promises'
import { createRandom } from '../../simulator/random.ts'
import { checkRecoveries, describeAnswers, type Fault, type Outcome, type Settings } from './fault.ts'
import { judge } from './judge.ts'
import { startLoad } from './load.ts'
import { openStage, type Stage } from './stage.ts'
import { until } from './wait.ts'

type Break = {
  name: string
  title: string
  times: number
  quickTimes: number
  /** Of the provider's calls, as options of the simulator. */
  latency?: string[]
  /** Breaks Redis and resolves to the time when it was back, Unix ms. */
  apply(stage: Stage, settings: Settings): Promise<number>
}

const PER_SECOND = 8
/** Load before, between and after the breaks. */
const CALM_MS = 4000
/** From Redis' return to the first new call. */
export const RESUMES_MS = 5000
/** The longest that a client may wait for an answer while the store is unavailable. */
export const ANSWERS_MS = 3000

const LATENCY = ['--latency', '800', '--jitter', '400']

const BREAKS: Break[] = [
  {
    name: 'redis-kill',
    title: 'Redis kill -9, restarted from its AOF',
    times: 3,
    quickTimes: 2,
    apply: ({ redis }) => redis.kill(),
  },
  {
    name: 'redis-stop',
    title: 'Redis stopped for 60 s',
    times: 1,
    quickTimes: 1,
    apply: ({ redis }, settings) => redis.halt(settings.quick ? 3000 : 60_000),
  },
  {
    name: 'redis-freeze',
    title: 'Redis frozen (SIGSTOP) for 10 s',
    times: 1,
    quickTimes: 1,
    apply: ({ redis }, settings) => redis.freeze(settings.quick ? 3000 : 10_000),
  },
  {
    name: 'redis-freeze-long',
    title: 'Redis frozen for 40 s, longer than locks and leases last',
    times: 1,
    quickTimes: 1,
    // Answers come before, during and after the freeze.
    latency: ['--latency', '2000', '--jitter', '8000'],
    apply: ({ redis }, settings) => redis.freeze(settings.quick ? 12_000 : 40_000),
  },
]

/** Redis goes away under load, in several ways, while clients keep submitting. */
export const breakRedis: Fault[] = BREAKS.map((kind) => ({
  name: kind.name,
  title: kind.title,
  run: (settings) => run(kind, settings),
}))

async function run(kind: Break, settings: Settings): Promise<Outcome> {
  const group = kind.name
  const random = createRandom(settings.seed)
  const stage = await openStage({
    apis: 1,
    simulator: [...(kind.latency ?? LATENCY), '--seed', String(settings.seed)],
    stalledAfterMs: settings.stalledAfterMs,
  })
  settings.opened(stage)
  const load = startLoad({ urls: stage.urls, random, group, perSecond: PER_SECOND })
  const recoveriesMs: number[] = []
  await sleep(CALM_MS)
  const times = settings.quick ? kind.quickTimes : kind.times
  for (let time = 1; time <= times; time++) {
    const backAt = await kind.apply(stage, settings)
    recoveriesMs.push(await firstCallAfter(stage, backAt))
    settings.say(`back ${time} of ${times}`)
    await sleep(CALM_MS * (0.5 + random()))
  }
  await load.stop()
  const { tally, broken } = await judge(stage, load, group, 4 * settings.stalledAfterMs + 60_000)
  broken.push(...checkRecoveries(recoveriesMs, RESUMES_MS, 'the first call after Redis was back'))
  if (load.slowestMs > ANSWERS_MS)
    broken.push(`a client waited ${Math.round(load.slowestMs)} ms for its answer`)
  return { tally, recoveriesMs, broken, notes: [describeAnswers(load)] }
}

/** How long after this moment the first new call began, ms. */
export async function firstCallAfter({ simulator }: Stage, time: number): Promise<number> {
  const look = async () => (await simulator.calls()).find((call) => call.at >= time)
  return (await until(look, 60_000, 'a new call')).at - time
}
