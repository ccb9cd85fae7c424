import { createRandom } from '../../providers/simulator/random.ts'
import { getAttempts, getJob } from './client.ts'
import type { Fault, Outcome, Settings } from './fault.ts'
import { judge } from './judge.ts'
import { startLoad } from './load.ts'
import { openStage, type Stage, type Worker } from './stage.ts'
import { until } from './wait.ts'

const GROUP = 'poisoned'
/** Calls outlast the poison's effect, so that those beside it are lost with it. */
const LATENCY = ['--latency', '1000', '--jitter', '1000']
/** Workers that a job may take down, as jobs/work.ts has it. */
const MOST_LOST = 3
/** The simulator knows of no other job that hangs. */
const MARK = '[[fault:hang]]'

/** A job that kills every worker that takes it, among others. */
export const poisonWorker: Fault = {
  name: 'poison',
  title: 'a job that kills its workers',
  async run(settings: Settings): Promise<Outcome> {
    const { stalledAfterMs, say } = settings
    const random = createRandom(settings.seed)
    const stage = await openStage({
      tapped: true,
      simulator: [...LATENCY, '--seed', String(settings.seed)],
      stalledAfterMs,
    })
    settings.opened(stage)
    const load = startLoad({ urls: stage.urls, random, group: GROUP, perSecond: 6 })
    await until(() => load.sent.find((job) => job.id !== null), 20_000, 'an accepted job')
    const poison = load.add({ mark: MARK })
    const kills = await killUntilEnded(stage, () => poison.id, stalledAfterMs, say)
    await load.stop()
    const { tally, broken } = await judge(stage, load, GROUP, 6 * stalledAfterMs + 60_000)
    const job = await getJob(stage.urls()[0]!, poison.id!)
    const attempts = await getAttempts(stage.urls()[0]!, poison.id!)
    const isKnown = attempts.every(({ outcome, ambiguous }) => outcome === 'lost' && ambiguous)
    if (job?.error?.code !== 'worker_lost') broken.push(`the job is ${job?.status}, ${job?.error?.code}`)
    if (kills !== MOST_LOST || attempts.length !== MOST_LOST || !isKnown)
      broken.push(`it took ${kills} workers down in ${attempts.length} calls`)
    const failed = [...tally.failed.values()].reduce((sum, count) => sum + count, 0)
    if (failed > 1) broken.push(`${failed - 1} of its neighbours failed`)
    return { tally, recoveriesMs: [], broken, notes: [`${kills} workers killed`] }
  },
}

/** Kills each worker in whose hands the job's call is, until it has ended; tells how many those were. */
async function killUntilEnded(
  stage: Stage,
  id: () => string | null,
  stalledAfterMs: number,
  say: (line: string) => void,
): Promise<number> {
  let holder: Worker | null = null
  const watch = (worker: Worker) => {
    worker.tap!.onCommand((command) => {
      const known = id()
      if (known !== null && command.includes(known)) holder = worker
    })
  }
  for (const worker of stage.workers) watch(worker)
  for (let kills = 0; ; kills++) {
    const next = await until(
      async () => {
        const { hang = 0 } = (await stage.simulator.state()).faults
        if (hang > kills) return 'called'
        const job = id() === null ? null : await getJob(stage.urls()[0]!, id()!)
        return job?.status === 'failed' ? 'ended' : null
      },
      3 * stalledAfterMs + 30_000,
      'the next call of the job',
    )
    if (next === 'ended') return kills
    // The command by which it claimed the call has passed the tap before the call left.
    await stage.end(holder!, 'SIGKILL')
    watch(await stage.startWorker())
    say(`${kills + 1} killed`)
  }
}
