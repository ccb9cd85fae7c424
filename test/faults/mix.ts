import { setTimeout as sleep } from 'node:timers/promises'
import { createRandom } from '../../providers/simulator/random.ts'
import { gatherAudience } from './audience.ts'
import { describeAnswers, type Fault, type Outcome, type Settings } from './fault.ts'
import { createMarker, TIMEOUT_MS } from './ills.ts'
import { judge } from './judge.ts'
import { startLoad } from './load.ts'
import { openStage, type Stage } from './stage.ts'
import { recoveries } from './tally.ts'
import { until } from './wait.ts'

export type Blow = 'worker-kill' | 'worker-term' | 'redis-kill' | 'redis-freeze' | 'redis-stop' | 'api-kill'
const BLOWS: Blow[] = ['worker-kill', 'worker-term', 'redis-kill', 'redis-freeze', 'redis-stop', 'api-kill']

const GROUP = 'mix'
/** Event streams that are opened before each blow. */
const NEW_STREAMS = 20

/** Everything at random. */
export const mix: Fault = {
  name: 'mix',
  title: 'all of these at random',
  run(settings: Settings): Promise<Outcome> {
    const random = createRandom(settings.seed)
    const count = settings.quick ? 6 : 24
    const blows = Array.from({ length: count }, () => BLOWS[Math.floor(random() * BLOWS.length)]!)
    return strike(settings, { blows, random, patienceMs: 4 * settings.stalledAfterMs + 90_000 })
  },
}

type Plan = {
  blows: readonly Blow[]
  /** Default 2. With one, a kill is sure to meet calls. */
  workers?: number
  random: () => number
  /** How long the jobs may take to end after the last blow. */
  patienceMs: number
}

/** Strikes a service under load, whose provider fails too, with one blow after the other. */
export async function strike(settings: Settings, plan: Plan): Promise<Outcome> {
  const { blows, random } = plan
  const stage = await openStage({
    apis: 2,
    workers: plan.workers ?? 2,
    simulator: ['--latency', '400', '--jitter', '400', '--per-token', '10', '--seed', String(settings.seed)],
    stalledAfterMs: settings.stalledAfterMs,
  })
  settings.opened(stage)
  const { urls } = stage
  const load = startLoad({
    urls,
    random,
    group: GROUP,
    perSecond: 8,
    members: { timeout_ms: TIMEOUT_MS },
    mark: createMarker(random, 0.2),
  })
  await until(() => load.sent.find((job) => job.id !== null), 20_000, 'an accepted job')
  const audience = gatherAudience({ urls, random, group: GROUP, ofGroup: 3 })
  const killedAt: number[] = []
  for (const blow of blows) {
    await sleep(1000 + 1500 * random())
    audience.followNew(load, NEW_STREAMS)
    settings.say(blow)
    if (blow === 'worker-kill') {
      await until(() => isUnderWay(stage), 20_000, 'a call under way')
      killedAt.push(Date.now())
    }
    await apply(blow, stage, random)
  }
  await load.stop()
  const { tally, evidence, broken } = await judge(stage, load, GROUP, plan.patienceMs)
  const { broken: flaws } = await audience.conclude(tally.jobs)
  broken.push(...flaws)
  const notes = [blows.join(', '), `${audience.size} event streams`, describeAnswers(load)]
  return { tally, recoveriesMs: recoveries(evidence, killedAt), broken, notes }
}

async function isUnderWay({ simulator }: Stage): Promise<true | null> {
  return (await simulator.state()).in_flight > 0 ? true : null
}

async function apply(blow: Blow, stage: Stage, random: () => number): Promise<void> {
  const pick = <T>(list: T[]) => list[Math.floor(random() * list.length)]!
  switch (blow) {
    case 'worker-kill':
      await stage.end(pick(stage.workers), 'SIGKILL')
      return void (await stage.startWorker())
    case 'worker-term':
      await stage.end(pick(stage.workers), 'SIGTERM')
      return void (await stage.startWorker())
    case 'api-kill':
      await stage.end(pick(stage.apis), 'SIGKILL')
      return void (await stage.startApi())
    case 'redis-kill':
      return void (await stage.redis.kill())
    case 'redis-freeze':
      return void (await stage.redis.freeze(1000 + 3000 * random()))
    case 'redis-stop':
      return void (await stage.redis.halt(1000 + 2000 * random()))
  }
}
