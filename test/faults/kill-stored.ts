import { createRandom } from '../../simulator/random.ts'
import { get } from './client.ts'
import type { Fault, Outcome, Settings } from './fault.ts'
import { judge } from './judge.ts'
import { composeJob, deliver, type Sent } from './load.ts'
import { openStage, type Stage } from './stage.ts'
import { until, within } from './wait.ts'

const GROUP = 'stored'
/** Workers side by side, each with a lane of its own, so that a kill meets no other call. */
const WORKERS = 4
const STALLED_AFTER_MS = 3000
const STORED_MS = 30_000

/** Workers that die when Redis has their result and they do not know it yet. */
export const killStored: Fault = {
  name: 'worker-kill-stored',
  title: 'worker kill -9 between storing and acknowledging',
  async run(settings: Settings): Promise<Outcome> {
    const kills = settings.quick ? 10 : 200
    const random = createRandom(settings.seed)
    const models = Array.from({ length: WORKERS }, (_, index) => `chat-${index}`)
    const stage = await openStage({
      workers: 0,
      models,
      tapped: true,
      simulator: ['--latency', '20', '--seed', String(settings.seed)],
      stalledAfterMs: STALLED_AFTER_MS,
    })
    settings.opened(stage)
    const load = { sent: [] as Sent[], answers: new Map<number, number>(), slowestMs: 0 }

    let begun = 0
    async function killOnce(model: string): Promise<void> {
      const worker = await stage.startWorker([model])
      const stored = worker.tap!.catchResult('after')
      const job = composeJob({ group: GROUP, number: load.sent.length, model })
      load.sent.push(job)
      await deliver(job, { urls: stage.urls, random }, load)
      await within(stored, STORED_MS, 'storing a result')
      await stage.end(worker, 'SIGKILL')
      if (load.sent.length % 20 === 0) settings.say(`${load.sent.length} of ${kills} killed`)
    }

    await Promise.all(
      models.map(async (model) => {
        while (begun++ < kills) await killOnce(model)
      }),
    )
    // The worker that finds their jobs has to see that nothing is to be done.
    await stage.startWorker()
    await until(
      () => isLeftNothing(stage),
      4 * STALLED_AFTER_MS + 30_000,
      'the last look at the jobs that dead workers left',
    )
    const { tally, broken } = await judge(stage, load, GROUP, 30_000)
    if (tally.flagged > 0) broken.push(`${tally.flagged} calls are flagged whose results were stored`)
    if (tally.paidAgain > 0) broken.push(`${tally.paidAgain} calls were paid again`)
    const failed = [...tally.failed.values()].reduce((sum, count) => sum + count, 0)
    if (failed > 0) broken.push(`${failed} jobs failed though their results were stored`)
    return { tally, recoveriesMs: [], broken, notes: [`${load.sent.length} kills`] }
  },
}

type Backlog = { waiting: number; delayed: number; held: number }

/** True if no lane has an entry any more. */
async function isLeftNothing(stage: Stage): Promise<true | null> {
  const lanes = await get<{ data: { backlog: Backlog }[] }>(`${stage.urls()[0]}/v1/lanes`)
  const left = lanes!.data.reduce(
    (sum, { backlog }) => sum + backlog.waiting + backlog.delayed + backlog.held,
    0,
  )
  return left === 0 ? true : null
}
