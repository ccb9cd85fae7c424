import { setTimeout as sleep } from 'node:timers/promises'
import { createRandom } from '../../simulator/random.ts'
import { gatherAudience } from './audience.ts'
import { applyBlow, BLOWS, type Blow, type Scene } from './blows.ts'
import { describeAnswers, type Fault, type Outcome, type Settings } from './fault.ts'
import { createMarker, TIMEOUT_MS } from './ills.ts'
import { judge } from './judge.ts'
import { startLoad } from './load.ts'
import { blockMs } from './silence-workers.ts'
import { openStage } from './stage.ts'
import { recoveries } from './tally.ts'
import { until } from './wait.ts'

const GROUP = 'mix'
/** Event streams that are opened before each blow. */
const NEW_STREAMS = 20

/** All faults at random. */
export const mix: Fault = {
  name: 'mix',
  title: 'all of these at random',
  run(settings: Settings): Promise<Outcome> {
    const random = createRandom(settings.seed)
    const blows = chooseBlows(random, settings.mixMs)
    return strike(settings, { blows, random, patienceMs: 6 * settings.stalledAfterMs + 90_000 })
  },
}

function* chooseBlows(random: () => number, ms: number): Generator<Blow> {
  const endsAt = performance.now() + ms
  while (performance.now() < endsAt) yield BLOWS[Math.floor(random() * BLOWS.length)]!
}

type Plan = {
  blows: Iterable<Blow>
  /** Default 2. With one worker, a kill is certain to meet calls. */
  workers?: number
  random: () => number
  /** How long the jobs may take to end after the last blow. */
  patienceMs: number
}

/** Strikes a service under load, whose provider fails too, with one blow after the other. */
export async function strike(settings: Settings, plan: Plan): Promise<Outcome> {
  const { random, workers = 2 } = plan
  const stage = await openStage({
    apis: 2,
    workers,
    tapped: true,
    simulator: ['--latency', '400', '--jitter', '400', '--per-token', '10', '--seed', String(settings.seed)],
    stalledAfterMs: settings.stalledAfterMs,
    blockMs: blockMs(settings),
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
  const audience = gatherAudience({ urls, random, group: GROUP, ofGroup: 3, ofAll: 2 })
  const scene: Scene = {
    ...{ stage, load, random, settings },
    killedAt: [],
    silent: new Set(),
    isPoisoned: false,
    lasting: [],
  }
  const struck = new Map<Blow, number>()
  for (const blow of plan.blows) {
    await sleep(1000 + 1500 * random())
    audience.followNew(load, NEW_STREAMS)
    settings.say(blow)
    struck.set(blow, (struck.get(blow) ?? 0) + 1)
    await applyBlow(blow, scene)
  }
  await Promise.all(scene.lasting)
  await load.stop()
  const { tally, evidence, broken } = await judge(stage, load, GROUP, plan.patienceMs)
  const { broken: flaws } = await audience.conclude(tally.jobs)
  broken.push(...flaws)
  const list = [...struck].map(([blow, count]) => `${blow} ×${count}`).join(', ')
  const notes = [list, `${audience.size} event streams`, describeAnswers(load)]
  return { tally, recoveriesMs: recoveries(evidence, scene.killedAt), broken, notes }
}
