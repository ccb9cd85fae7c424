import { setTimeout as sleep } from 'node:timers/promises'
import { createRandom } from '../../simulator/random.ts'
import { firstCallAfter } from './break-redis.ts'
import { checkRecoveries, describeAnswers, type Fault, type Outcome, type Settings } from './fault.ts'
import { judge } from './judge.ts'
import { composeJob, startLoad } from './load.ts'
import { openStage, type Stage } from './stage.ts'
import { until } from './wait.ts'

/** Locks live long enough for what is under way, so that a living worker keeps it. */
const STALLED_AFTER_MS = 15_000
/** From room to the first new call. */
const RESUMES_MS = 5000
const ENDS_MS = 20_000
/** From the provider's last byte until a worker has its answer. */
const HEARD_MS = 1000

/** Redis' memory is full while calls end, and then there is room again. */
export const fillRedis: Fault[] = [
  {
    name: 'redis-full',
    title: 'Redis refuses writes, then has room again',
    run: (settings) => run('redis-full', settings, async () => {}),
  },
  {
    name: 'redis-full-kill',
    title: 'Redis refuses writes, and the workers are killed in that time',
    run: (settings) => run('redis-full-kill', settings, replaceWorkers),
  },
]

async function run(
  group: string,
  settings: Settings,
  meanwhile: (stage: Stage) => Promise<void>,
): Promise<Outcome> {
  const random = createRandom(settings.seed)
  const stage = await openStage({
    simulator: ['--latency', '800', '--jitter', '1200', '--seed', String(settings.seed)],
    stalledAfterMs: STALLED_AFTER_MS,
  })
  settings.opened(stage)
  const load = startLoad({ urls: stage.urls, random, group, perSecond: 8 })
  const recoveriesMs: number[] = []
  const odd: string[] = []
  for (let time = 0; time < (settings.quick ? 1 : 2); time++) {
    await sleep(3000 + 1000 * random())
    const backAt = await stage.redis.fill(async () => {
      odd.push(...(await findOddRefusal(stage, `${group}-refused`, time)))
      // Every call under way ends in a result that cannot be stored.
      const isIdle = async () => ((await stage.simulator.state()).in_flight === 0 ? true : null)
      await until(isIdle, ENDS_MS, 'the end of all calls')
      await sleep(HEARD_MS)
      await meanwhile(stage)
    })
    recoveriesMs.push(await firstCallAfter(stage, backAt))
  }
  await load.stop()
  const { tally, broken } = await judge(stage, load, group, 4 * STALLED_AFTER_MS + 60_000)
  if (tally.flagged > 0) broken.push(`${tally.flagged} calls are flagged whose answers had come`)
  if (tally.paidAgain > 0) broken.push(`${tally.paidAgain} calls were paid again`)
  broken.push(...odd, ...checkRecoveries(recoveriesMs, RESUMES_MS, 'the first call after there was room'))
  return { tally, recoveriesMs, broken, notes: [describeAnswers(load)] }
}

/** A client learns that there is no room now, and when to come again. */
async function findOddRefusal(stage: Stage, group: string, number: number): Promise<string[]> {
  const { body, key } = composeJob({ group, number })
  const response = await fetch(`${stage.urls()[0]}/v1/jobs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': key },
    body,
  })
  await response.text()
  const retryAfter = response.headers.get('retry-after')
  if (response.status === 503 && Number(retryAfter) >= 1) return []
  return [`while Redis took no writes a client was answered ${response.status}, Retry-After: ${retryAfter}`]
}

async function replaceWorkers(stage: Stage): Promise<void> {
  const leaving = [...stage.workers]
  await Promise.all(leaving.map((worker) => stage.end(worker, 'SIGKILL')))
  await Promise.all(leaving.map(() => stage.startWorker()))
}
