import { setTimeout as sleep } from 'node:timers/promises'
import { createRandom } from '../../simulator/random.ts'
import type { Fault, Outcome, Settings } from './fault.ts'
import { countEnded, createRandomFlows, judgeFlows } from './random-flows.ts'
import { openStage } from './stage.ts'
import { tallyUp } from './tally.ts'
import { until } from './wait.ts'

const FLOWS_PER_KILL = 10
const SLOW_MS = 400
const PATIENCE_MS = 120_000

/** Two workers with flows of random shapes, one of which is killed again and again, whatever it does. */
export const killFlowWorkers: Fault = {
  name: 'flow-kill',
  title: 'worker kill -9 in the middle of flows',
  async run({ kills, seed, stalledAfterMs, say, opened }: Settings): Promise<Outcome> {
    const random = createRandom(seed)
    const stage = await openStage({ simulator: ['--seed', String(seed)], stalledAfterMs })
    opened(stage)
    const url = () => stage.urls()[0]!
    const flows: Awaited<ReturnType<typeof createRandomFlows>> = []
    for (let kill = 1; kill <= kills; kill++) {
      flows.push(...(await createRandomFlows(url(), seed + kill, FLOWS_PER_KILL, SLOW_MS, `k${kill}-`)))
      await sleep(200 + 1500 * random())
      await stage.end(stage.workers[Math.floor(random() * stage.workers.length)]!, 'SIGKILL')
      await stage.startWorker()
      if (kill % 5 === 0) say(`${kill} of ${kills} killed`)
    }
    const allEnded = async () => ((await countEnded(url(), flows)) === flows.length ? true : null)
    const broken: string[] = []
    try {
      await until(allEnded, PATIENCE_MS, 'the end of all flows')
      const hashes = (await stage.simulator.calls()).map((call) => call.prompt_hash)
      broken.push(...(await judgeFlows(url(), flows, hashes)))
    } catch (error) {
      broken.push(
        `${await countEnded(url(), flows)} of ${flows.length} flows ended: ${(error as Error).message}`,
      )
    }
    return {
      tally: tallyUp([], []),
      recoveriesMs: [],
      broken,
      notes: [`${kills} kills, ${flows.length} flows`],
    }
  },
}
