import { setTimeout as sleep } from 'node:timers/promises'
import { createRandom } from '../../simulator/random.ts'
import { checkRecoveries, type Fault, type Outcome, type Settings } from './fault.ts'
import { judge } from './judge.ts'
import { startLoad } from './load.ts'
import { openStage, type Worker } from './stage.ts'
import { recoveries } from './tally.ts'

/** Calls of several seconds: some are answered while their worker is silent, and some are made twice at once. */
const LATENCY = ['--latency', '2000', '--jitter', '4000']
const RECOVERY_GRACE_MS = 5000

type Silence = {
  name: string
  title: string
  times: number
  /** Whether other workers may take over its calls. */
  isGivenUp: boolean
  /** How long it lasts, ms. */
  lasts(settings: Settings, random: () => number): number
  apply(worker: Worker, ms: number): Promise<void>
}

const SILENCES: Silence[] = [
  {
    name: 'worker-freeze',
    title: 'worker frozen (SIGSTOP) until given up, then back',
    times: 2,
    isGivenUp: true,
    lasts: ({ stalledAfterMs }, random) => stalledAfterMs + 5000 * random(),
    apply: freeze,
  },
  {
    name: 'worker-block',
    title: 'worker whose event loop is blocked for 35 s',
    times: 1,
    isGivenUp: false,
    lasts: blockMs,
    apply: block,
  },
]

/** How long `block` blocks: longer than a lock, a lease of the gate and the health check wait. */
export function blockMs({ quick }: Pick<Settings, 'quick'>): number {
  return quick ? 12_000 : 35_000
}

/** Stops the whole process, with the thread that tells others that it lives. */
export async function freeze(worker: Worker, ms: number): Promise<void> {
  worker.kill('SIGSTOP')
  try {
    await sleep(ms)
  } finally {
    worker.kill('SIGCONT')
  }
}

/** Blocks its event loop, on a stage with this `blockMs`. */
export async function block(worker: Worker, ms: number): Promise<void> {
  worker.kill('SIGUSR2')
  await sleep(ms)
}

/** A worker that is silent for longer than the wait for a dead one, and then goes on as if nothing had happened. */
export const silenceWorkers: Fault[] = SILENCES.map((silence) => ({
  name: silence.name,
  title: silence.title,
  run: (settings) => run(silence, settings),
}))

async function run(silence: Silence, settings: Settings): Promise<Outcome> {
  const { stalledAfterMs, quick } = settings
  const group = silence.name
  const random = createRandom(settings.seed)
  const stage = await openStage({
    simulator: [...LATENCY, '--seed', String(settings.seed)],
    stalledAfterMs,
    blockMs: blockMs(settings),
  })
  settings.opened(stage)
  const load = startLoad({ urls: stage.urls, random, group, perSecond: 5 })
  const silentAt: number[] = []
  const times = quick ? 1 : silence.times
  for (let time = 0; time < times; time++) {
    await sleep(5000 + 2000 * random())
    const victim = stage.workers[Math.floor(random() * stage.workers.length)]!
    silentAt.push(Date.now())
    await silence.apply(victim, silence.lasts(settings, random))
  }
  await load.stop()
  const { tally, evidence, broken } = await judge(stage, load, group, 4 * stalledAfterMs + 60_000)
  const recoveriesMs = recoveries(evidence, silentAt)
  if (silence.isGivenUp && tally.flagged === 0) broken.push('no call was given up')
  if (!silence.isGivenUp && tally.flagged + tally.paidAgain > 0)
    broken.push(
      `${tally.flagged} calls are flagged and ${tally.paidAgain} paid again, though their worker lived`,
    )
  broken.push(
    ...checkRecoveries(recoveriesMs, stalledAfterMs + RECOVERY_GRACE_MS, 'a call of a silent worker'),
  )
  return { tally, recoveriesMs, broken, notes: [`${silentAt.length} times`] }
}
