import { setTimeout as sleep } from 'node:timers/promises'
import { createRandom } from '../../providers/simulator/random.ts'
import { checkRecoveries, type Fault, type Outcome, type Settings } from './fault.ts'
import { judge } from './judge.ts'
import { startLoad } from './load.ts'
import { openStage } from './stage.ts'
import { recoveries } from './tally.ts'

const GROUP = 'frozen-workers'
/** Calls of so many seconds, some of which are answered while their worker is frozen, and some made twice at once. */
const LATENCY = ['--latency', '2000', '--jitter', '4000']
/** How much longer a worker is frozen than it takes to be given up. */
const BEYOND_MS = 5000
const RECOVERY_GRACE_MS = 5000

/** A worker that is silent until others have taken its calls over, and then goes on as if nothing had been. */
export const freezeWorkers: Fault = {
  name: 'worker-freeze',
  title: 'worker frozen (SIGSTOP) until given up, then back',
  async run(settings: Settings): Promise<Outcome> {
    const { stalledAfterMs, quick } = settings
    const random = createRandom(settings.seed)
    const stage = await openStage({
      simulator: [...LATENCY, '--seed', String(settings.seed)],
      stalledAfterMs,
    })
    settings.opened(stage)
    const load = startLoad({ urls: stage.urls, random, group: GROUP, perSecond: 5 })
    const frozenAt: number[] = []
    for (let time = 0; time < (quick ? 1 : 3); time++) {
      await sleep(5000 + 2000 * random())
      const victim = stage.workers[Math.floor(random() * stage.workers.length)]!
      frozenAt.push(Date.now())
      victim.kill('SIGSTOP')
      try {
        await sleep(stalledAfterMs + BEYOND_MS * random())
      } finally {
        victim.kill('SIGCONT')
      }
    }
    await load.stop()
    const { tally, evidence, broken } = await judge(stage, load, GROUP, 4 * stalledAfterMs + 60_000)
    const recoveriesMs = recoveries(evidence, frozenAt)
    broken.push(
      ...checkRecoveries(recoveriesMs, stalledAfterMs + RECOVERY_GRACE_MS, 'a call of a silent worker'),
    )
    return { tally, recoveriesMs, broken, notes: [`${frozenAt.length} times`] }
  },
}
