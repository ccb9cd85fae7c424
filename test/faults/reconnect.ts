import { setTimeout as sleep } from 'node:timers/promises'
import { createRandom } from '../../simulator/random.ts'
import { gatherAudience } from './audience.ts'
import type { Fault, Outcome, Settings } from './fault.ts'
import { judge } from './judge.ts'
import { startLoad } from './load.ts'
import { openStage } from './stage.ts'
import { until } from './wait.ts'

const GROUP = 'reconnected'
const STREAMS = 5000
const OPENED_AT_ONCE = 250
const OPENED_MS = 60_000
const JOBS = 100
/** Calls last longer than the opening of all streams. */
const latencyMs = (quick: boolean) => (quick ? 25_000 : 35_000)
/** Other sockets of this process. */
const OTHER_FILES = 500

/** One process serves thousands of event streams and dies; all of them connect to the other one at once. */
export const reconnect: Fault = {
  name: 'reconnect',
  title: `${STREAMS} event streams reconnect at once`,
  async run(settings: Settings): Promise<Outcome> {
    requireFiles(STREAMS + OTHER_FILES)
    const random = createRandom(settings.seed)
    const stage = await openStage({
      apis: 2,
      workers: 1,
      simulator: ['--latency', String(latencyMs(settings.quick)), '--seed', String(settings.seed)],
      stalledAfterMs: settings.stalledAfterMs,
    })
    settings.opened(stage)
    const { urls } = stage
    const load = startLoad({ urls, random, group: GROUP, perSecond: 20 })
    const audience = gatherAudience({ urls, random, group: GROUP, ofGroup: 0 })
    await until(() => (load.sent.length >= JOBS ? true : null), 60_000, `${JOBS} jobs`)
    await load.stop()
    const victim = stage.apis[0]!
    const url = victim.match[1]!
    for (let opened = 0; opened < STREAMS; opened += OPENED_AT_ONCE) {
      audience.follow(load.sent, OPENED_AT_ONCE, url)
      const isThere = () => (audience.at(url) >= opened + OPENED_AT_ONCE ? true : null)
      await until(isThere, OPENED_MS, `${opened + OPENED_AT_ONCE} event streams`)
    }
    settings.say(`${audience.at(url)} streams are open`)
    await sleep(500)
    const met = audience.at(url)
    await stage.end(victim, 'SIGKILL')
    const { tally, broken } = await judge(stage, load, GROUP, latencyMs(settings.quick) + 60_000)
    const { resumedMs, broken: flaws } = await audience.conclude(tally.jobs)
    broken.push(...flaws)
    if (met < STREAMS) broken.push(`only ${met} event streams were open`)
    if (resumedMs.length < met) broken.push(`${met - resumedMs.length} streams were not resumed`)
    return { tally, recoveriesMs: resumedMs, broken, notes: [`${met} event streams`] }
  },
}

/** Node raises the soft limit of open files to the hard limit by itself; the machine sets that one. */
function requireFiles(count: number): void {
  const report = process.report.getReport() as { userLimits?: { open_files?: { soft: number | string } } }
  const most = Number(report.userLimits?.open_files?.soft)
  if (most < count) throw new Error(`needs ${count} open files, and may have ${most} (ulimit -n)`)
}
