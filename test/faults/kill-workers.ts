import { setTimeout as sleep } from 'node:timers/promises'
import { createRandom } from '../../simulator/random.ts'
import { checkRecoveries, type Fault, type Outcome, type Settings } from './fault.ts'
import { judge } from './judge.ts'
import { startLoad } from './load.ts'
import { openStage } from './stage.ts'
import { recoveries } from './tally.ts'
import { until } from './wait.ts'

const GROUP = 'killed-workers'
const LATENCY_MS = 1000
const PER_SECOND = 6
/** Longer than a call takes, so that each loss can be due to one kill only. */
const LEAST_PAUSE_MS = LATENCY_MS + 500
/**
 * Added to the time after which a dead worker's jobs are looked at again: for the look itself, and a busy machine.
 */
const RECOVERY_GRACE_MS = 5000

/** Two workers; one is killed in mid-call again and again, and started again each time. */
export const killWorkers: Fault = {
  name: 'worker-kill',
  title: 'worker kill -9 in mid-call',
  async run(settings: Settings): Promise<Outcome> {
    const { kills, stalledAfterMs, say } = settings
    const random = createRandom(settings.seed)
    const stage = await openStage({
      simulator: ['--latency', String(LATENCY_MS), '--jitter', '200', '--seed', String(settings.seed)],
      stalledAfterMs,
    })
    settings.opened(stage)
    const load = startLoad({ urls: stage.urls, random, group: GROUP, perSecond: PER_SECOND })
    const killedAt: number[] = []
    let underWay = 0
    for (let kill = 1; kill <= kills; kill++) {
      await sleep(LEAST_PAUSE_MS + 1000 * random())
      const { in_flight } = await until(
        async () => {
          const state = await stage.simulator.state()
          return state.in_flight > 1 ? state : null
        },
        30_000,
        'a call under way',
      )
      underWay = Math.max(underWay, in_flight)
      const victim = stage.workers[Math.floor(random() * stage.workers.length)]!
      killedAt.push(Date.now())
      await stage.end(victim, 'SIGKILL')
      await stage.startWorker()
      if (kill % 5 === 0) say(`${kill} of ${kills} killed`)
    }
    await load.stop()
    const { tally, evidence, broken } = await judge(stage, load, GROUP, 4 * stalledAfterMs + 60_000)
    const recoveriesMs = recoveries(evidence, killedAt)
    if (recoveriesMs.length === 0) broken.push('no kill met a call')
    if (tally.flagged > kills * underWay)
      broken.push(`${tally.flagged} calls are flagged, more than were killed`)
    broken.push(...checkRecoveries(recoveriesMs, stalledAfterMs + RECOVERY_GRACE_MS, 'a lost call'))
    return { tally, recoveriesMs, broken, notes: [`${kills} kills`] }
  },
}
