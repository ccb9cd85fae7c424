import { setTimeout as sleep } from 'node:timers/promises'
import { createRandom } from '../../simulator/random.ts'
import { type Audience, gatherAudience } from './audience.ts'
import { describeAnswers, type Fault, type Outcome, type Settings } from './fault.ts'
import { judge } from './judge.ts'
import { type Load, startLoad } from './load.ts'
import { openStage } from './stage.ts'
import { until } from './wait.ts'

const GROUP = 'killed-apis'
/** Submissions around the moment of a kill, and the time over which they are sent. */
const RUSH = 30
const RUSH_MS = 60
/** Event streams that each kill breaks at least. */
const STREAMS = 500
/** Opened in addition, because some jobs end before the kill. */
const SPARE = 100
/** The latest jobs, which are followed. */
const FOLLOWED = 40
const OPENED_MS = 30_000
const OPENING_MS = 1000

/** Two API processes under load, one of which is killed again and again, with clients and event streams on both. */
export const killApis: Fault = {
  name: 'api-kill',
  title: 'API kill -9 under load and 500 event streams',
  async run(settings: Settings): Promise<Outcome> {
    const { quick, seed, say } = settings
    const random = createRandom(seed)
    const stage = await openStage({
      apis: 2,
      workers: 1,
      // A stream takes many seconds, so that most are cut somewhere in the middle.
      simulator: ['--latency', '300', '--per-token', '150', '--output-tokens', '80', '--seed', String(seed)],
      stalledAfterMs: settings.stalledAfterMs,
    })
    settings.opened(stage)
    const { urls } = stage
    const load = startLoad({ urls, random, group: GROUP, perSecond: 6 })
    await until(() => load.sent.find((job) => job.id !== null), 20_000, 'an accepted job')
    const audience = gatherAudience({ urls, random, group: GROUP, ofGroup: 5, ofAll: 3 })
    const kills = quick ? 2 : 4
    let thin = 0
    for (let kill = 1; kill <= kills; kill++) {
      await sleep(2000 + 1000 * random())
      const victim = stage.apis[Math.floor(random() * stage.apis.length)]!
      const url = victim.match[1]!
      await until(
        () => openStreams(audience, load, url),
        OPENED_MS,
        `${STREAMS} event streams at one process`,
      )
      await sleep(500 * random())
      // So that the kill meets jobs at every point between their arrival and the answer.
      const rush = load.rush(RUSH, RUSH_MS)
      await sleep(RUSH_MS * (0.3 + 0.4 * random()))
      if (audience.at(url) < STREAMS) thin++
      await stage.end(victim, 'SIGKILL')
      await rush
      await stage.startApi()
      say(`${kill} of ${kills} killed, ${audience.size} streams so far`)
    }
    await load.stop()
    const { tally, broken } = await judge(stage, load, GROUP, 60_000)
    const { resumedMs, broken: flaws } = await audience.conclude(tally.jobs)
    broken.push(...flaws)
    if (thin > 0) broken.push(`${thin} kills met fewer than ${STREAMS} event streams`)
    if (resumedMs.length === 0) broken.push('no kill met an event stream')
    const resumed = `${audience.size} event streams, resumed ${resumedMs.length} times`
    return { tally, recoveriesMs: resumedMs, broken, notes: [resumed, describeAnswers(load)] }
  },
}

/** True if so many streams are open at the process; opens the missing ones. */
async function openStreams(audience: Audience, load: Load, url: string): Promise<true | null> {
  const missing = STREAMS + SPARE - audience.at(url)
  if (missing <= SPARE / 2) return true
  audience.follow(load.sent.slice(-FOLLOWED), missing, url)
  await sleep(OPENING_MS)
  return null
}
