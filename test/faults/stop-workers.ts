import { setTimeout as sleep } from 'node:timers/promises'
import { createRandom } from '../../simulator/random.ts'
import { checkRecoveries, type Fault, type Outcome, type Settings } from './fault.ts'
import { judge } from './judge.ts'
import { startLoad } from './load.ts'
import { openStage } from './stage.ts'

const GROUP = 'stopped-workers'
/** How long a worker may take to end. */
const END_MS = 30_000

/** Two workers under load; one gets SIGTERM and is replaced, as in a deployment. */
export const stopWorkers: Fault = {
  name: 'worker-term',
  title: 'worker SIGTERM under load',
  async run(settings: Settings): Promise<Outcome> {
    const random = createRandom(settings.seed)
    const stage = await openStage({
      simulator: ['--latency', '1500', '--jitter', '1500', '--seed', String(settings.seed)],
      stalledAfterMs: settings.stalledAfterMs,
    })
    settings.opened(stage)
    const load = startLoad({ urls: stage.urls, random, group: GROUP, perSecond: 8 })
    const recoveriesMs: number[] = []
    const odd: string[] = []
    for (let time = 0; time < (settings.quick ? 2 : 4); time++) {
      await sleep(2000 + 2000 * random())
      const leaving = stage.workers[Math.floor(random() * stage.workers.length)]!
      const toldAt = performance.now()
      const { code, signal } = await stage.end(leaving, 'SIGTERM')
      recoveriesMs.push(performance.now() - toldAt)
      if (code !== 0) odd.push(`a worker ended with ${code ?? signal}`)
      await stage.startWorker()
    }
    await load.stop()
    const { tally, broken } = await judge(stage, load, GROUP, 60_000)
    if (tally.flagged > 0) broken.push(`${tally.flagged} calls were cut off`)
    if (tally.paidAgain > 0) broken.push(`${tally.paidAgain} calls were repeated`)
    broken.push(...odd, ...checkRecoveries(recoveriesMs, END_MS, 'ending a worker'))
    return { tally, recoveriesMs, broken, notes: [`${recoveriesMs.length} workers replaced`] }
  },
}
