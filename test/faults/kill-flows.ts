import { setTimeout as sleep } from 'node:timers/promises'
import { createRandom } from '../../simulator/random.ts'
import type { Fault, Outcome, Settings } from './fault.ts'
import { countEnded, createRandomFlows, judgeFlows, judgePurchases } from './random-flows.ts'
import { openStage } from './stage.ts'
import { strike, type Victim, victims, victimTitles } from './strike.ts'
import { tallyUp } from './tally.ts'
import { until } from './wait.ts'

const FLOWS_PER_KILL = 10
const SLOW_MS = 400
const PATIENCE_MS = 120_000

/** Flows of random shapes, while workers, API processes or Redis are killed again and again, at any step. */
export const killFlows: readonly Fault[] = victims.map((victim) => ({
  name: victim === 'worker' ? 'flow-kill' : `flow-kill-${victim}`,
  title: `${victimTitles[victim]} kill -9 in the middle of flows`,
  run: (settings) => run(victim, settings),
}))

async function run(victim: Victim, { kills, seed, stalledAfterMs, say, opened }: Settings): Promise<Outcome> {
  const random = createRandom(seed)
  const stage = await openStage({ apis: 2, simulator: ['--seed', String(seed)], stalledAfterMs })
  opened(stage)
  const url = () => stage.urls()[0]!
  const creations: ReturnType<typeof createRandomFlows>[] = []
  for (let kill = 1; kill <= kills; kill++) {
    // Some are still being created at the moment of the kill.
    creations.push(createRandomFlows(stage.urls, seed + kill, FLOWS_PER_KILL, SLOW_MS, `k${kill}-`))
    const creating = creations.at(-1)!
    creating.catch(() => {})
    if (victim === 'worker') await creating
    await sleep((victim === 'worker' ? 200 : 0) + 1500 * random())
    await strike(stage, victim, random)
    if (kill % 5 === 0) say(`${kill} of ${kills} killed`)
  }
  const flows = (await Promise.all(creations)).flat()
  const allEnded = async () => ((await countEnded(url(), flows)) === flows.length ? true : null)
  const broken: string[] = []
  try {
    await until(allEnded, PATIENCE_MS, 'the end of all flows')
    const hashes = (await stage.simulator.calls()).map((call) => call.prompt_hash)
    broken.push(...(await judgeFlows(url(), flows)), ...(await judgePurchases(url(), flows, hashes)))
  } catch (error) {
    broken.push(
      `${await countEnded(url(), flows)} of ${flows.length} flows ended: ${(error as Error).message}`,
    )
  }
  return {
    tally: tallyUp([], []),
    recoveriesMs: [],
    broken,
    notes: [`seed ${seed}, ${kills} kills, ${flows.length} flows`],
  }
}
