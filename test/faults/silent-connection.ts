import { setTimeout as sleep } from 'node:timers/promises'
import { createRandom } from '../../simulator/random.ts'
import { checkRecoveries, describeAnswers, type Fault, type Outcome, type Settings } from './fault.ts'
import { judge } from './judge.ts'
import { startLoad } from './load.ts'
import { openStage } from './stage.ts'
import { until } from './wait.ts'

const GROUP = 'silent-connection'
/** From the silence, or from the time when new connections work again, to the call of a job that was sent then. */
const RESUMES_MS = 20_000
/** The time in which a waiting request may find the store silent and be answered. */
const ANSWERS_MS = 4000
const CALM_MS = 3000

/**
 * All connections to Redis die silently: bytes vanish in both directions, and nothing is reset. Every other time new
 * connections open and are silent as well, for a while.
 */
export const silentConnection: Fault = {
  name: 'silent-connection',
  title: 'connections to Redis that die silently',
  async run(settings: Settings): Promise<Outcome> {
    const random = createRandom(settings.seed)
    const stage = await openStage({
      relayed: true,
      apis: 2,
      simulator: ['--latency', '500', '--jitter', '1500', '--seed', String(settings.seed)],
      stalledAfterMs: settings.stalledAfterMs,
    })
    settings.opened(stage)
    const relay = stage.relay!
    const load = startLoad({ urls: stage.urls, random, group: GROUP, perSecond: 8 })
    const recoveriesMs: number[] = []
    const times = settings.quick ? 2 : 6
    for (let time = 1; time <= times; time++) {
      await sleep(CALM_MS * (0.5 + random()))
      if (time % 2 === 1) relay.swallow()
      else {
        relay.swallowAll()
        await sleep(settings.quick ? 8000 : 30_000)
        relay.mend()
      }
      const since = Date.now()
      const { hash } = load.add({ mark: '' })
      const look = async () => (await stage.simulator.calls()).find((call) => call.prompt_hash === hash)
      recoveriesMs.push((await until(look, 60_000, 'the call of a job sent into the silence')).at - since)
      settings.say(`silence ${time} of ${times}`)
    }
    await load.stop()
    const { tally, broken } = await judge(stage, load, GROUP, 4 * settings.stalledAfterMs + 60_000)
    broken.push(...checkRecoveries(recoveriesMs, RESUMES_MS, 'the call of a job sent into the silence'))
    if (load.slowestMs > ANSWERS_MS)
      broken.push(`a client waited ${Math.round(load.slowestMs)} ms for its answer`)
    return { tally, recoveriesMs, broken, notes: [describeAnswers(load)] }
  },
}
