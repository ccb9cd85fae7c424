import { setTimeout as sleep } from 'node:timers/promises'
import { createRandom } from '../../simulator/random.ts'
import type { Fault, Outcome, Settings } from './fault.ts'
import { judge } from './judge.ts'
import { startLoad } from './load.ts'
import { openStage } from './stage.ts'
import { within } from './wait.ts'

const GROUP = 'cut-off'
/** Locks live longer than a cut. */
const STALLED_AFTER_MS = 15_000
const STORED_MS = 30_000

/**
 * A worker loses its Redis while it stores a result: alternately before and after Redis has it, which the worker
 * cannot distinguish.
 */
export const cutRedis: Fault = {
  name: 'redis-cut',
  title: 'connection to Redis cut while a result is stored',
  async run(settings: Settings): Promise<Outcome> {
    const random = createRandom(settings.seed)
    const stage = await openStage({
      tapped: true,
      simulator: ['--latency', '500', '--jitter', '500', '--seed', String(settings.seed)],
      stalledAfterMs: STALLED_AFTER_MS,
    })
    settings.opened(stage)
    const load = startLoad({ urls: stage.urls, random, group: GROUP, perSecond: 8 })
    const cuts = settings.quick ? 4 : 12
    for (let cut = 0; cut < cuts; cut++) {
      await sleep(500 * random())
      const { tap } = stage.workers[Math.floor(random() * stage.workers.length)]!
      const stored = tap!.catchResult(cut % 2 === 0 ? 'before' : 'after')
      await within(stored, STORED_MS, 'storing a result')
      tap!.cut()
      await sleep(200 + 1800 * random())
      tap!.mend()
    }
    await load.stop()
    const { tally, broken } = await judge(stage, load, GROUP, 4 * STALLED_AFTER_MS + 60_000)
    if (tally.flagged > 0) broken.push(`${tally.flagged} calls are flagged whose answers had come`)
    if (tally.paidAgain > 0) broken.push(`${tally.paidAgain} calls were paid again`)
    return { tally, recoveriesMs: [], broken, notes: [`${cuts} cuts`] }
  },
}
