import { setTimeout as sleep } from 'node:timers/promises'
import { createRandom } from '../../simulator/random.ts'
import { RESUMES_MS } from './break-redis.ts'
import { checkRecoveries, describeAnswers, type Fault, type Outcome, type Settings } from './fault.ts'
import { judge } from './judge.ts'
import { startLoad } from './load.ts'
import { openStage, type Stage } from './stage.ts'
import { addTallies, type Tally } from './tally.ts'
import { until } from './wait.ts'

const GROUP = 'emptied-redis'
const PER_SECOND = 8
/** Load before Redis is emptied, and after. */
const CALM_MS = 4000

/**
 * FLUSHALL under load. Jobs accepted before are lost, and not counted; jobs accepted from then on have to run, also
 * when an API process dies with Redis.
 */
export const emptyRedis: Fault = {
  name: 'emptied-redis',
  title: 'Redis emptied (FLUSHALL) under load',
  async run(settings: Settings): Promise<Outcome> {
    const random = createRandom(settings.seed)
    const stage = await openStage({
      apis: 2,
      simulator: ['--latency', '500', '--jitter', '500', '--seed', String(settings.seed)],
      stalledAfterMs: settings.stalledAfterMs,
    })
    settings.opened(stage)
    const tallies: Tally[] = []
    const recoveriesMs: number[] = []
    const broken: string[] = []
    const notes: string[] = []
    const times = settings.quick ? 1 : 3
    for (let time = 1; time <= times; time++) {
      const group = `${GROUP}-${time}`
      const before = startLoad({ urls: stage.urls, random, group: `${group}-before`, perSecond: PER_SECOND })
      await sleep(CALM_MS * (0.75 + 0.5 * random()))
      const emptiedAt = await stage.redis.empty()
      // Both loads go on: what workers and queues have left of the first meets the second.
      const after = startLoad({ urls: stage.urls, random, group, perSecond: PER_SECOND })
      recoveriesMs.push((await firstCallOf(stage, after)) - emptiedAt)
      await before.stop()
      await sleep(CALM_MS)
      await stage.end(stage.apis[Math.floor(random() * stage.apis.length)]!, 'SIGKILL')
      await stage.startApi()
      await after.stop()
      const judgement = await judge(stage, after, group, 4 * settings.stalledAfterMs + 60_000)
      tallies.push(judgement.tally)
      broken.push(...judgement.broken)
      notes.push(describeAnswers(after))
      settings.say(`emptied ${time} of ${times}`)
    }
    broken.push(...checkRecoveries(recoveriesMs, RESUMES_MS, 'the first call of a later job'))
    return { tally: addTallies(tallies), recoveriesMs, broken, notes }
  },
}

/** When the first call of one of these jobs began, Unix ms. */
async function firstCallOf({ simulator }: Stage, load: Pick<ReturnType<typeof startLoad>, 'sent'>) {
  const look = async () => {
    const hashes = new Set(load.sent.map(({ hash }) => hash))
    return (await simulator.calls()).find(({ prompt_hash }) => hashes.has(prompt_hash))
  }
  return (await until(look, 60_000, 'a call of a job that came after')).at
}
