import { setTimeout as sleep } from 'node:timers/promises'
import { createRandom } from '../../simulator/random.ts'
import { ANSWERS_MS, firstCallAfter, RESUMES_MS } from './break-redis.ts'
import { checkRecoveries, describeAnswers, type Fault, type Outcome, type Settings } from './fault.ts'
import { judge } from './judge.ts'
import { startLoad } from './load.ts'
import { openStage } from './stage.ts'

const GROUP = 'late-redis'
/** Submissions around the moment in which an API process is killed, and the time over which they are sent. */
const RUSH = 40
const RUSH_MS = 200

/** Every process is started before Redis. When Redis has come, an API process dies with the jobs that it accepted. */
export const lateRedis: Fault = {
  name: 'late-redis',
  title: 'Redis that comes up after the processes',
  async run(settings: Settings): Promise<Outcome> {
    const random = createRandom(settings.seed)
    const stage = await openStage({
      apis: 2,
      isRedisLate: true,
      simulator: ['--latency', '300', '--jitter', '300', '--seed', String(settings.seed)],
      stalledAfterMs: settings.stalledAfterMs,
    })
    settings.opened(stage)
    const load = startLoad({ urls: stage.urls, random, group: GROUP, perSecond: 8 })
    await sleep(settings.quick ? 4000 : 40_000)
    const early = load.sent.filter((job) => job.id !== null).length
    const recoveriesMs = [await firstCallAfter(stage, await stage.redis.start())]
    settings.say('Redis has come')
    await sleep(1000 + 1000 * random())
    const rush = load.rush(RUSH, RUSH_MS)
    await sleep(RUSH_MS * (0.3 + 0.4 * random()))
    await stage.end(stage.apis[Math.floor(random() * stage.apis.length)]!, 'SIGKILL')
    await rush
    await sleep(4000)
    await load.stop()
    const { tally, broken } = await judge(stage, load, GROUP, 4 * settings.stalledAfterMs + 60_000)
    broken.push(...checkRecoveries(recoveriesMs, RESUMES_MS, 'the first call after Redis came'))
    if (early > 0) broken.push(`${early} jobs were accepted without Redis`)
    if (load.slowestMs > ANSWERS_MS)
      broken.push(`a client waited ${Math.round(load.slowestMs)} ms for its answer`)
    return { tally, recoveriesMs, broken, notes: [describeAnswers(load)] }
  },
}
