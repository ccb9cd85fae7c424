import { setTimeout as sleep } from 'node:timers/promises'
import { createRandom } from '../../simulator/random.ts'
import { getAttempts, getJob } from './client.ts'
import type { Fault, Outcome, Settings } from './fault.ts'
import { judge } from './judge.ts'
import { startLoad } from './load.ts'
import { openStage, type Stage } from './stage.ts'
import type { Tap } from './tap.ts'
import { until } from './wait.ts'

const GROUP = 'poisoned'
/** Calls last longer than the poison's effect, so that the calls beside it are lost with it. */
const LATENCY = ['--latency', '1000', '--jitter', '1000']
/** Workers that a job may kill; the same number as in jobs/work.ts. */
const MOST_LOST = 3
/** From the claim of a call to the moment it has left. */
const UNDER_WAY_MS = 100
/** The answer of this job alone goes on without end. */
export const POISON = { mark: '[[fault:endless:ms=1000]]', members: { timeout_ms: 60_000 } }

/** A job that kills every worker that takes it, among others. */
export const poisonWorker: Fault = {
  name: 'worker-poison',
  title: 'a job that kills its workers',
  async run(settings: Settings): Promise<Outcome> {
    const { stalledAfterMs } = settings
    const random = createRandom(settings.seed)
    const stage = await openStage({
      // One, so that all that is lost with it comes back together.
      workers: 1,
      tapped: true,
      simulator: [...LATENCY, '--seed', String(settings.seed)],
      stalledAfterMs,
    })
    settings.opened(stage)
    const load = startLoad({ urls: stage.urls, random, group: GROUP, perSecond: 6 })
    await until(() => load.sent.find((job) => job.id !== null), 20_000, 'an accepted job')
    const poison = load.add(POISON)
    const kills = await killHolders(stage, () => poison.id, settings)
    await load.stop()
    const { tally, broken } = await judge(stage, load, GROUP, 6 * stalledAfterMs + 60_000)
    const job = await getJob(stage.urls()[0]!, poison.id!)
    const attempts = await getAttempts(stage.urls()[0]!, poison.id!)
    const isKnown = attempts.every(({ outcome, ambiguous }) => outcome === 'lost' && ambiguous)
    if (job?.error?.code !== 'worker_lost') broken.push(`the job is ${job?.status}, ${job?.error?.code}`)
    if (kills !== MOST_LOST || attempts.length !== MOST_LOST || !isKnown)
      broken.push(`it killed ${kills} workers in ${attempts.length} calls`)
    const failed = [...tally.failed.values()].reduce((sum, count) => sum + count, 0)
    if (failed > 1) broken.push(`${failed - 1} of its neighbours failed`)
    return { tally, recoveriesMs: [], broken, notes: [`${kills} workers killed`] }
  },
}

/**
 * Kills each worker that holds the poisonous job's call, until the job has ended; answers how many workers that were.
 */
export async function killHolders(
  stage: Stage,
  id: () => string | null,
  { stalledAfterMs, say }: Pick<Settings, 'stalledAfterMs' | 'say'>,
): Promise<number> {
  let holder: Tap | null = null
  for (const { tap } of stage.workers) {
    tap!.onCommand((command) => {
      const known = id()
      if (known !== null && command.includes(known)) holder = tap
    })
  }
  let calls = 0
  const look = async () => {
    const job = id() === null ? null : await getJob(stage.urls()[0]!, id()!)
    if (job?.status === 'failed') return 'ended'
    const attempts = job?.status === 'running' ? await getAttempts(stage.urls()[0]!, job.id) : []
    if (attempts.at(-1)?.outcome !== 'running' || attempts.length <= calls) return null
    calls = attempts.length
    return 'called'
  }
  for (let kills = 0; ; kills++) {
    const next = await until(look, 6 * stalledAfterMs + 60_000, 'the next call of the job')
    if (next === 'ended') return kills
    await sleep(UNDER_WAY_MS)
    const worker = stage.workers.find(({ tap }) => tap === holder)
    if (worker === undefined) continue
    await stage.end(worker, 'SIGKILL')
    await stage.startWorker()
    say(`${kills + 1} killed by the poison`)
  }
}
