import { setTimeout as sleep } from 'node:timers/promises'
import { createRandom } from '../../simulator/random.ts'
import { getAttempts, getJob, submit } from './client.ts'
import type { Fault, Outcome, Settings } from './fault.ts'
import { openStage } from './stage.ts'
import { tallyUp } from './tally.ts'
import { until } from './wait.ts'

const JOBS_PER_KILL = 12
const PATIENCE_MS = 180_000
/** Lines that a batch loses, leaves undone, or answers with an error, each once. */
const ILLS = ['lost_line', 'zero_line', 'null_line', 'expired_line', '500', '429']

/**
 * Workers with batches of a provider are killed again and again, at any step, while answers to creations are lost,
 * results are cut off, batches expire and the provider's queue is full. Each job ends once, with an answer that was
 * bought once.
 */
export const killBatchWorkers: Fault = {
  name: 'provider-batches',
  title: 'worker kill -9 in the middle of provider batches',
  async run({ kills, seed, stalledAfterMs, say, opened }: Settings): Promise<Outcome> {
    const random = createRandom(seed)
    const stage = await openStage({
      simulator: ['--seed', String(seed)],
      stalledAfterMs,
      tiers: '{ batch: { gather: 100ms, poll: 100ms, max_lines: 20, leave_before: 1m } }',
    })
    opened(stage)
    const url = () => stage.urls()[0]!
    const ids: string[] = []

    async function make(prompt: string): Promise<void> {
      const body = { model: 'sim/chat', messages: [{ role: 'user', content: prompt }] }
      const { id } = await submit(url(), JSON.stringify({ type: 'chat', tier: 'batch', body }), prompt)
      if (id !== null) ids.push(id)
    }

    for (let kill = 1; kill <= kills; kill++) {
      await stage.simulator.setBatches({
        turnaroundMs: 1500 * random(),
        maxQueuedTokens: kill % 4 === 0 ? 300 : null,
      })
      await stage.simulator.setFaults([
        { kind: 'reset_after', path: 'POST /v1/batches', rate: 0.3 },
        { kind: 'reset_before', path: 'POST /v1/files', rate: 0.1 },
        { kind: 'truncated_stream', path: 'content', rate: 0.3 },
        { kind: '503', path: 'GET /v1/batches', rate: 0.1 },
      ])
      for (let one = 0; one < JOBS_PER_KILL; one++) {
        const ill = random() < 0.2 ? ` [[fault:${ILLS[Math.floor(random() * ILLS.length)]}:times=1]]` : ''
        await make(`job ${kill}.${one}${ill}`)
      }
      await sleep(1500 * random())
      if (kill % 5 === 0) await stage.simulator.setBatches({ end: 'expire' })
      await stage.end(stage.workers[Math.floor(random() * stage.workers.length)]!, 'SIGKILL')
      await stage.startWorker()
      if (kill % 5 === 0) say(`${kill} of ${kills} killed`)
    }
    await stage.simulator.setFaults([])
    await stage.simulator.setBatches({ turnaroundMs: 200, maxQueuedTokens: null })

    const broken: string[] = []
    const read = async () =>
      (await Promise.all(ids.map((id) => getJob(url(), id)))).filter((job) => job !== null)
    const allEnded = async () => ((await read()).every((job) => job.finished_at !== null) ? true : null)
    await until(allEnded, PATIENCE_MS, 'the end of all jobs').catch((error: Error) =>
      broken.push(error.message),
    )
    const jobs = await read()
    const open = jobs.filter((job) => job.finished_at === null).length
    if (open > 0) broken.push(`${open} of ${jobs.length} jobs have no end`)
    const failed = jobs.filter((job) => job.status === 'failed').length
    if (failed > 0) broken.push(`${failed} of ${jobs.length} jobs failed`)
    const bought = new Map<string, number>()
    for (const { prompt_hash: hash } of await stage.simulator.calls())
      bought.set(hash, (bought.get(hash) ?? 0) + 1)
    const twice = [...bought.values()].filter((count) => count > 1).length
    if (twice > 0) broken.push(`${twice} of ${jobs.length} jobs were bought twice`)
    let flagged = 0
    for (const { id } of jobs) {
      flagged += (await getAttempts(url(), id)).filter((attempt) => attempt.ambiguous).length
    }
    if (flagged > 0) broken.push(`${flagged} calls are ambiguous`)
    const inBatches = jobs.filter((job) => job.served_tier === 'batch').length
    if (inBatches === 0) broken.push('no job was answered by a batch')
    const notes = [`${kills} kills, ${jobs.length} jobs, ${inBatches} of them by batches`]
    return { tally: tallyUp([], []), recoveriesMs: [], broken, notes }
  },
}
